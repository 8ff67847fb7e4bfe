"""Precision as a part of the search: which targets belong together, one budget for all, and who ships."""

import json
from pathlib import Path

import pytest
from conftest import hwnas
from report_run import MadeRun

from hwnas.core.errors import BadInput
from hwnas.core.target import load_target
from hwnas.run.directory import stored_config
from hwnas.run.precisions import Searched, best, in_precision, precisions_of, table


def test_targets_that_differ_in_precision_alone_belong_together() -> None:
    def names(target: str) -> list[str]:
        return [t.name for t in precisions_of(load_target(target))]

    assert names("cpu") == names("cpu-int8") == ["cpu", "cpu-int8"]
    assert names("tensorrt-fp16") == ["tensorrt-fp32", "tensorrt-fp16", "tensorrt-int8"]
    assert names("gpu-torch") == ["gpu-torch", "gpu-torch-fp16"]
    assert names("cpu-all-threads") == ["cpu-all-threads"]  # other threads: another way to run, no precision
    assert names("ethos-u55-128") == ["ethos-u55-128"]  # the larger NPU is another device


def test_a_precision_by_name() -> None:
    assert in_precision(load_target("cpu"), "int8").name == "cpu-int8"
    with pytest.raises(BadInput, match="no profile in fp16, only in fp32, int8") as caught:
        in_precision(load_target("cpu"), "fp16")
    assert "profiles/cpu-fp16.yaml" in caught.value.mend


def test_the_best_within_the_budget_ships_and_the_test_split_is_no_judge(tmp_path: Path) -> None:
    result = MadeRun(tmp_path).result
    over = result.model_copy(update={"within_budget": False, "accuracy": 0.99})
    better_on_test = result.model_copy(update={"accuracy": 0.99})
    cpu, int8 = load_target("cpu"), load_target("cpu-int8")
    found = [
        Searched(cpu, Path("a"), result, judged=0.95),
        Searched(int8, Path("b"), better_on_test, judged=0.94),
        Searched(int8, Path("c"), over, judged=0.97),
        Searched(int8, Path("d"), failure="no network fits"),
    ]
    assert best(found).path == Path("a")
    assert best(found[1:]).path == Path("b")
    assert best(found[2:]).path == Path("c")
    text = table(found)
    assert "no network fits" in text and "fp32 is the most accurate" in text


def test_every_precision_is_searched_under_one_budget(workspace: Path) -> None:
    command = ["search", "--config", "tiny.yaml", "--strategy", "random", "--set", "strategy.trials=2", "--out", "r"]
    command += ["--budget", "5000%"]  # so that noise does not leave one of them without a network
    outcome = hwnas(*command, "--precision", "auto", "--json")
    assert outcome.code == 0, outcome.stderr
    told = json.loads(outcome.stdout.splitlines()[-1])
    assert [row["target"] for row in told["precisions"]] == ["cpu", "cpu-int8"]
    fp32, int8 = told["precisions"]
    assert stored_config(Path("r/cpu")).budget == "5000%"
    assert stored_config(Path("r/cpu-int8")).budget == f"{fp32['budget_ms']:.5g}ms"
    assert int8["budget_ms"] == pytest.approx(fp32["budget_ms"], rel=1e-4)
    assert fp32["predicted_ms"] != int8["predicted_ms"]
    best_judged = max(told["precisions"], key=lambda row: row["judged"])
    assert told["run_dir"] in [r["run_dir"] for r in told["precisions"] if r["judged"] == best_judged["judged"]]
    again = hwnas(*command, "--precision", "auto", "--json")
    assert json.loads(again.stdout.splitlines()[-1]) == told


def test_wrong_precisions_are_refused(bare: Path) -> None:
    assert hwnas("run", "--config", "tiny.yaml", "--precision", "int4").code == 2
    two = hwnas("run", "--config", "tiny.yaml", "--precision", "auto", "--target", "cpu", "--target", "openvino")
    assert two.code == 2 and "one target" in two.stderr
