"""`hwnas calibrate`: killed and resumed it ends in the same, it touches no test image, and its page holds the table."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import hwnas

from hwnas.calibrate import run as calibration
from hwnas.calibrate.advice import networks_in
from hwnas.calibrate.plans import Plan, plans
from hwnas.calibrate.run import Answers, Calibrated
from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal
from hwnas.search.estimators.early_stop import EarlyStop
from hwnas.training.data import Data

ESTIMATORS = ("--estimator", "early-stop,learning-curve,predictor,successive-halving", "--networks", "5")
TINY = ("--config", "tiny.yaml", "--set", "training.epochs=2", "--set", "training.batch_size=32", *ESTIMATORS)


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Data) -> None:
        raise AssertionError("the test split was read")

    monkeypatch.setattr(Data, "open_test", refuse)


class Killed(Exception):
    pass


def test_killed_and_resumed_it_ends_in_the_same(bare: Path, sealed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hwnas("calibrate", *TINY, "--out", "whole", "--json")
    assert whole.code == 0, whole.stderr
    facts = json.loads(whole.stdout.splitlines()[-1])
    assert facts["estimators"][0]["label"] == "full"
    assert len(facts["truth"]) == 5
    page = (bare / "whole" / "report.html").read_text()
    assert all(row["label"] in page for row in facts["estimators"])

    asked: list[Any] = []
    accuracy = EarlyStop.accuracy

    def die_at_the_third(self: EarlyStop, arch: Any) -> float:
        asked.append(arch)
        if len(asked) == 3:
            raise Killed
        return accuracy(self, arch)

    monkeypatch.setattr(EarlyStop, "accuracy", die_at_the_third)
    with pytest.raises(Killed):
        hwnas("calibrate", *TINY, "--out", "parts")
    again = hwnas("calibrate", *TINY, "--out", "parts", "--json")
    assert again.code == 0, again.stderr
    digests = [Journal(bare / name / "journal.jsonl").digest() for name in ("whole", "parts")]
    assert digests[0] == digests[1]

    once_more = hwnas("calibrate", *TINY, "--out", "parts", "--json")
    assert json.loads(once_more.stdout.splitlines()[-1]) == json.loads(again.stdout.splitlines()[-1])


@pytest.mark.slow
def test_two_workers_find_what_one_process_finds(bare: Path, sealed: None) -> None:
    chosen = ("--estimator", "early-stop,learning-curve", "--networks", "6", "--set", "training.epochs=2")
    found = []
    for name, workers in (("alone", ()), ("two", ("--workers", "2"))):
        outcome = hwnas("calibrate", "--config", "tiny.yaml", *chosen, *workers, "--out", name, "--json")
        assert outcome.code == 0, outcome.stderr
        found.append(sorted(map(repr, map(_answer, Journal(bare / name / "journal.jsonl").of("answer")))))
    assert found[0] == found[1]


def _answer(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "spent_seconds"}


def test_a_dry_run_names_the_estimators_and_trains_nothing(bare: Path) -> None:
    outcome = hwnas("calibrate", "--config", "tiny.yaml", "--set", "subset.fraction=0.1", "--dry-run")
    assert outcome.code == 0
    labels = outcome.stdout.splitlines()
    assert labels[0] == "full"
    assert labels.count("subset") == 1, "one with settings of its own is calibrated with those alone"
    assert "tabular" not in outcome.stdout
    assert not (bare / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--estimator", "zero-cots"), "did you mean 'zero-cost'"),
        (("--estimator", "tabular"), "nothing to calibrate"),
        (("--set", "subset.fracton=0.1"), "did you mean 'fraction'"),
    ],
)
def test_mistakes_are_told_before_any_work(bare: Path, arguments: tuple[str, ...], said: str) -> None:
    outcome = hwnas("calibrate", "--config", "tiny.yaml", *arguments)
    assert outcome.code == 2
    assert said in outcome.stderr
    assert not (bare / "runs").exists()


def test_a_larger_sample_begins_with_the_smaller_and_a_space_may_be_too_small(tiny_space: Any) -> None:
    from hwnas.run.config import resolve

    config = resolve({})
    assert calibration.sample(config, tiny_space, 9, False)[:4] == calibration.sample(config, tiny_space, 4, False)
    with pytest.raises(BadInput, match="hardly 10000 networks"):
        calibration.sample(config, tiny_space, 10_000, False)


def test_a_variant_that_is_another_s_is_there_once() -> None:
    labels = [plan.label for plan in plans(["early-stop"], (), networks=30, epochs=4)]
    assert labels == ["full", "early-stop 1 epoch", "early-stop 2 epochs"]


def test_what_a_time_pays_for() -> None:
    """10 s a full training, 2 s an estimate after 3 lessons, 5 s before: 55 s are 3 lessons and 10 estimates."""

    def answers(seconds: float, lessons: int, setup: float) -> Answers:
        return Answers(Plan("x", "full", {}), [0.5] * 9, [None] * 9, [seconds] * 9, [1.0] * 9, lessons, setup, 0)

    truth, cheap = answers(10.0, 0, 0.0), answers(2.0, 3, 5.0)
    whole: Any = Calibrated(None, Path(), None, [], truth, [cheap], {})  # type: ignore[arg-type]
    assert networks_in(whole, truth, 55) == 5
    assert networks_in(whole, cheap, 55) == 3 + 10
    assert networks_in(whole, cheap, 4) == 0
    assert networks_in(whole, cheap, 29) == 2, "the time ends among the lessons"
