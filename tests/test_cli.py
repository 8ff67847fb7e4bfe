"""What a user meets at the command line: exit codes, messages with their mend, and never a traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import hwnas, start

from hwnas.core.journal import Journal
from hwnas.run.config import resolve
from hwnas.run.directory import RunDirectory

TINY = ("--config", "tiny.yaml")


def refused(outcome, code: int, *fragments: str) -> None:
    assert outcome.code == code, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for fragment in fragments:
        assert fragment in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("run", "--budget", "fast"), ("'fast' is not a latency", "12ms")),
        (("run", "--budget", "-3ms"), ("positive", "60%")),
        (("run", "--budget", "0ms"), ("positive",)),
        (("run", "--target", "cpux"), ("no target 'cpux'", "did you mean 'cpu'?")),
        (("run", "--target", "absent.yaml"), ("absent.yaml",)),
        (("run", "--space", "mobil"), ("no space 'mobil'", "did you mean 'mobile'?")),
        (("run", "--strategy", "proxyles"), ("no strategy 'proxyles'", "did you mean 'proxyless'?")),
        (("run", "--data", "digit"), ("no dataset 'digit'", "did you mean 'digits'?")),
        (("run", "--seed", "-1"), ("seed",)),
        (("run", "--set", "search.epoch=1"), ("search.epoch", "did you mean 'epochs'?")),
        (("run", "--config", "absent.yaml"), ("cannot read absent.yaml",)),
        (("run", "--seed", "many"), ("--seed",)),
        (("run", "--bogus"), ("--bogus",)),
        (("run", "extra"), ("extra",)),
        (("bogus",), ("bogus",)),
        (("table", "bogus"), ("bogus",)),
        (("table", "show", "absent"), ("absent.json", "hwnas profile")),
        (("report", "absent"), ("absent",)),
        (("measure", "absent.onnx"), ("absent.onnx",)),
        (("verify", "absent"), ("absent",)),
        (("explain", "absent"), ("absent",)),
        (("train", "absent"), ("absent", "config.yaml")),
        (("export", "absent"), ("absent", "config.yaml")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage(bare: Path, arguments: tuple[str, ...], fragments: tuple[str, ...]):
    refused(hwnas(*arguments), 2, *fragments)
    assert [path.name for path in bare.iterdir()] == ["tiny.yaml"]  # nothing was begun


def test_a_budget_out_of_reach_is_told_at_once(workspace: Path):
    command = ("run", *TINY, "--budget", "0.001ms", "--out")
    refused(hwnas(*command, "first"), 3, "it reaches", "--budget")
    seconds = []
    for attempt in range(3):
        begun = time.perf_counter()
        hwnas(*command, f"r{attempt}")
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 1
    refused(hwnas("run", *TINY, "--budget", "0.001%", "--out", "relative"), 3, "it reaches")


def test_data_that_is_missing(workspace: Path):
    for name in ("cifar10", "fashion-mnist", "imagefolder"):
        refused(hwnas("run", *TINY, "--data", name, "--set", "data.limit=null"), 2, "--data-dir", "holds")
        refused(hwnas("run", *TINY, "--data", name, "--data-dir", "absent"), 2, "no data folder absent", "--data-dir")


def test_data_that_is_half_there(workspace: Path, monkeypatch):
    folder = workspace / "data"
    folder.mkdir()
    for name in ("cifar10", "fashion-mnist", "imagefolder"):
        refused(hwnas("run", *TINY, "--data", name, "--data-dir", "data", "--out", name), 2, "data")
    rng = np.random.default_rng(0)
    (folder / "data_batch_1.bin").write_bytes(rng.integers(0, 10, 3073 * 3 - 1, np.uint8).tobytes())
    refused(hwnas("run", *TINY, "--data", "cifar10", "--data-dir", "data"), 2, "data_batch_1.bin is damaged")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b\x08\x00 torn")
    refused(hwnas("run", *TINY, "--data", "fashion-mnist", "--data-dir", "data"), 2, "train-images-idx3-ubyte.gz")
    for name in ("a", "b"):
        (folder / "train" / name).mkdir(parents=True)
    refused(hwnas("run", *TINY, "--data", "imagefolder", "--data-dir", "data"), 2, "is missing", "val/<class>")


def test_too_few_images(workspace: Path):
    refused(hwnas("search", *TINY, "--out", "r", "--set", "data.limit=12"), 2, "images")
    refused(hwnas("search", *TINY, "--out", "r2", "--set", "data.limit=-1"), 2, "data.limit")


def test_a_run_directory_in_use(workspace: Path):
    config = resolve({}, workspace / "tiny.yaml")
    directory = RunDirectory(workspace / "r", config)
    try:
        refused(hwnas("run", *TINY, "--out", "r"), 2, "in use", "--out")
    finally:
        directory.close()
    RunDirectory(workspace / "r", config).close()


def test_another_configuration_in_the_same_directory(finished_run: Path):
    before = {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()}
    command = ("run", *TINY, "--out", finished_run, "--seed", "1", "--set", "search.epochs=9")
    refused(hwnas(*command), 2, "seed: 0 → 1", "search.epochs: 2 → 9", "--out")
    assert {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()} == before


def test_a_damaged_run_directory(finished_run: Path):
    (finished_run / "config.yaml").write_text("target: [")
    refused(hwnas("run", "--out", finished_run), 2, "not valid YAML")


def test_a_damaged_journal_is_refused(finished_run: Path):
    journal = finished_run / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"{", b"(", 1))
    refused(hwnas("run", *TINY, "--out", finished_run), 2, "line 1", "--out")


def test_a_finished_run_returns_at_once(finished_run: Path):
    facts = {path: path.stat().st_mtime_ns for path in (finished_run / "bundle").iterdir()}
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        outcome = hwnas("run", *TINY, "--out", finished_run, "--json")
        seconds.append(time.perf_counter() - begun)
        assert outcome.code == 0
    assert min(seconds) < 1.5
    assert json.loads(outcome.stdout.splitlines()[-1])["run_dir"] == str(finished_run)
    assert {path: path.stat().st_mtime_ns for path in (finished_run / "bundle").iterdir()} == facts
    outcome = hwnas("run", "--out", finished_run)  # the directory alone says what it is
    assert outcome.code == 0


def test_a_lost_result_is_written_again_from_what_was_measured_and_tested(finished_run: Path, monkeypatch):
    from hwnas.run import stages
    from hwnas.training.data import Data

    result, journal = finished_run / "result.json", (finished_run / "journal.jsonl").read_bytes()
    before = result.read_text()
    result.write_text(before[:-20])
    refused(hwnas("run", *TINY, "--out", finished_run), 2, "result.json is damaged", "delete it")
    result.unlink()

    def never(*_: object) -> None:
        raise AssertionError("done twice")

    monkeypatch.setattr(stages, "final_measurement", never)
    monkeypatch.setattr(Data, "open_test", never)
    assert hwnas("run", *TINY, "--out", finished_run).code == 0
    assert result.read_text() == before
    assert (finished_run / "journal.jsonl").read_bytes() == journal


CONTRACT = {
    *("arch", "space", "strategy", "seed", "budget_ms", "predicted_ms", "predicted_ms_p95", "measured_ms"),
    *("within_budget", "accuracy", "params", "macs", "reference", "reference_scaled", "pareto", "search_seconds"),
    *("profile_seconds", "versions"),
}


def test_json_of_a_run(finished_run: Path):
    outcome = hwnas("run", *TINY, "--out", finished_run, "--json")
    printed = json.loads(outcome.stdout.splitlines()[-1])
    assert CONTRACT | {"run_dir"} <= printed.keys()
    assert printed == json.loads((finished_run / "result.json").read_text()) | {"run_dir": str(finished_run)}
    assert set(printed["measured_ms"]) == {"median", "p90", "n"}
    assert 0 <= printed["accuracy"] <= 1
    assert printed["within_budget"] is (printed["measured_ms"]["median"] <= printed["budget_ms"])


def test_json_of_a_search_has_null_where_nothing_ran(workspace: Path):
    outcome = hwnas("search", *TINY, "--out", "r", "--json", "--quiet")
    assert outcome.code == 0
    assert outcome.stderr == ""
    printed = json.loads(outcome.stdout.splitlines()[-1])
    assert CONTRACT | {"run_dir"} <= printed.keys()
    assert printed["measured_ms"] is printed["accuracy"] is printed["within_budget"] is None
    assert printed["predicted_ms"] <= printed["predicted_ms_p95"] <= printed["budget_ms"]


def test_dry_run_begins_nothing(bare: Path):
    outcome = hwnas("run", *TINY, "--out", "r", "--dry-run", "--json")
    assert outcome.code == 0
    assert "epochs: 2" in outcome.stdout
    printed = json.loads(outcome.stdout.splitlines()[-1])
    assert printed["search"]["epochs"] == 2
    assert printed["run_dir"] == "r"
    assert not (bare / "r").exists()
    assert "runs/mobile-cpu-proxyless-" in hwnas("run", *TINY, "--dry-run").stdout


def test_json_of_the_lists(workspace: Path):
    groups = json.loads(hwnas("list", "--json").stdout)
    assert set(groups) == {"strategies", "spaces", "runtimes", "estimators", "exporters", "datasets"}
    assert all(set(plugin) == {"name", "available", "needs"} for plugins in groups.values() for plugin in plugins)
    targets = json.loads(hwnas("targets", "--json").stdout.splitlines()[-1])
    (cpu,) = [target for target in targets if target["name"] == "cpu"]
    facts = {"name": "cpu", "runtime": "onnxruntime", "precision": "fp32"}
    assert cpu == facts | {"available": True, "needs": None, "table": True}
    shown = json.loads(hwnas("table", "show", "cpu", "--json").stdout)
    assert shown == json.loads((workspace / "latency_tables" / "cpu.json").read_text())


def until(condition, process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    begun = time.monotonic()
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


def test_ctrl_c_stops_it_and_the_same_command_resumes(workspace: Path):
    command = ("search", *TINY, "--out", "r", "--set", "search.epochs=60")
    journal = workspace / "r" / "journal.jsonl"
    process = start(*command, folder=workspace)
    until(lambda: journal.exists() and journal.read_text().count('"epoch"') > 3, process)
    second = hwnas(*command)
    refused(second, 2, "in use")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in stderr
    assert "Traceback" not in stderr
    done = journal.read_text().count('"epoch":')
    assert done < 60
    assert hwnas(*command).code == 0
    assert [record["epoch"] for record in Journal(journal).of("epoch")] == list(range(60))


def fill(disk: Path, leave: int) -> Path:
    """All but `leave` bytes of the disk, in one file."""
    filler = disk / "filler"
    filler.write_bytes(b"\0" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - leave))
    return filler


def test_a_full_disk_and_space_again(small_disk, bare: Path, monkeypatch):
    disk: Path = small_disk("8m")
    monkeypatch.chdir(disk)
    shutil.copy(bare / "tiny.yaml", disk / "tiny.yaml")
    command = ("run", *TINY, "--out", "r")
    said = ("cannot write", "No space left on device", "resumes")

    filler = fill(disk, leave=16 << 10)  # enough for the configuration, not for the turns of the profile
    refused(hwnas(*command), 2, *said, "latency_tables")
    filler.unlink()
    assert hwnas("profile", *TINY).code == 0
    table = (disk / "latency_tables" / "cpu.json").read_bytes()

    filler = fill(disk, leave=16 << 10)  # not enough for the supernet's checkpoint
    refused(hwnas(*command), 2, *said, "supernet")
    filler.unlink()
    assert hwnas("search", *TINY, "--out", "r").code == 0
    searched = (disk / "r" / "journal.jsonl").read_bytes()

    filler = fill(disk, leave=16 << 10)  # nor for a trained network's
    refused(hwnas(*command), 2, *said, "r/checkpoints")
    filler.unlink()
    assert hwnas(*command).code == 0
    assert (disk / "r" / "journal.jsonl").read_bytes().startswith(searched)
    assert (disk / "latency_tables" / "cpu.json").read_bytes() == table
    assert (disk / "r" / "bundle" / "manifest.json").exists()
    assert not list(disk.rglob(".*.json.*"))


def seconds_of(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def test_help_is_there_at_once():
    assert min(seconds_of([sys.executable, "-m", "hwnas", "--help"]) for _ in range(6)) < 0.4


def test_importing_costs_little_and_no_torch():
    script = """if True:
        import sys, time
        begun = time.perf_counter()
        import hwnas
        seconds = time.perf_counter() - begun
        heavy = {"torch", "numpy", "onnx", "onnxruntime", "sklearn", "scipy"} & set(sys.modules)
        assert not heavy, heavy
        print(seconds)"""
    command = [sys.executable, "-c", script]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(4)]
    assert min(float(run.stdout) for run in runs) < 0.15


def test_a_process_of_its_own_says_the_same(bare: Path):
    process = start("run", "--budget", "fast", folder=bare)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert stdout == ""
    assert stderr.startswith("error: budget 'fast'")
    assert "Traceback" not in stderr
