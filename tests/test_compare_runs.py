"""`hwnas compare` where networks are trained: runs of their own, judged by published truth or measured to the end."""

import json
import signal
import time
from pathlib import Path

import pytest
import yaml
from conftest import hwnas, start
from published import TINY_CELLS, arguments, write
from test_compare import told

from hwnas.core.journal import Journal
from hwnas.run.result import load_result


@pytest.fixture
def on_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that trains ENAS's weights beside looking random search's answers up; the test runs in its folder."""
    monkeypatch.chdir(tmp_path)
    Path("cells.yaml").write_text(yaml.safe_dump(TINY_CELLS))
    command = arguments(write(tmp_path), "random,enas", trials="random.trials=5")
    return [*command, "--config", "cells.yaml", "--set", "enas.networks=2", "--json"]


def test_shared_weights_are_judged_by_the_truth(on_cells: list[str]) -> None:
    found = told(hwnas(*on_cells, "--seeds", 1, "--out", "c"))
    by_name = {o["strategy"]: o for o in found["outcomes"]}
    assert by_name["random"]["queries"] == 5 and by_name["random"]["epochs"] is None
    assert by_name["enas"]["queries"] >= 1 and by_name["enas"]["epochs"] == 2
    for outcome in by_name.values():
        assert outcome["regret"] >= 0 and outcome["over_budget"] == 0
        assert outcome["latency_ms"] <= outcome["budget_ms"]
    (folder,) = Path("c/enas").glob("*/seed-0")
    assert load_result(folder).accuracy is None  # the images' test split was not read
    journal = folder / "journal.jsonl"
    searched = Journal(journal).last("searched")
    assert searched and searched["peak_mib_measured"] > 1
    before = journal.read_bytes()
    assert told(hwnas(*on_cells, "--seeds", 1, "--out", "c")) == found
    assert journal.read_bytes() == before


@pytest.mark.slow
def test_runs_of_two_workers_end_as_those_of_one(on_cells: list[str]) -> None:
    two = told(hwnas(*on_cells, "--seeds", 2, "--out", "two", "--workers", 2))
    assert two == told(hwnas(*on_cells, "--seeds", 2, "--out", "one"))


def test_published_latencies_are_searched_and_never_measured(on_cells: list[str]) -> None:
    sets = [s for s in on_cells if "=" in s and s.startswith(("estimator", "latency"))]
    command = ["--config", "cells.yaml", "--space", "nasbench201", "--strategy", "random"]
    command += [word for s in sets for word in ("--set", s)]
    searched = hwnas("search", *command, "--out", "r", "--json")
    assert searched.code == 0 and "not measured here: imported from table.npz" in searched.stdout
    refused = hwnas("run", *command, "--out", "r")
    assert refused.code == 4 and "published" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.slow
def test_whole_runs_killed_and_resumed_by_two_workers(workspace: Path) -> None:
    command = ["compare", "--config", "tiny.yaml", "--strategy", "random,enas", "--set", "random.trials=2"]
    command += ["--seeds", "1", "--out", "c", "--workers", "2", "--json"]
    process = start(*command, folder=workspace)
    deadline = time.monotonic() + 300
    while not list(Path("c").rglob("result.json")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = json.loads(hwnas(*command).stdout.splitlines()[-1])
    mine = [o for o in found["outcomes"] if o["strategy"] in ("random", "enas")]
    assert [(o["strategy"], o["seed"]) for o in mine] == [("random", 0), ("enas", 0)]
    for outcome in mine:
        assert 0 <= outcome["accuracy"] <= 1 and outcome["regret"] is None
        (folder,) = Path("c", outcome["strategy"]).glob(f"*/seed-{outcome['seed']}")
        result = load_result(folder)
        assert (result.accuracy, result.arch) == (outcome["accuracy"], outcome["arch"])
        assert (folder / "bundle" / "model.onnx").exists()
    assert [o["seed"] for o in found["outcomes"] if o["strategy"] == "reference"] == [0]
    assert {row["strategy"] for row in found["rows"]} >= {"random", "enas", "reference"}
    assert "reference" in next(row for row in found["rows"] if row["strategy"] == "enas")["against"]
