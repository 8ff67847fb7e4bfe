"""The test split is read once, after everything is chosen, by all networks together."""

from pathlib import Path

import pytest
from conftest import hwnas

from hwnas.core.journal import Journal
from hwnas.run.config import resolve
from hwnas.run.stages import Run
from hwnas.search.estimators.early_stop import EarlyStop
from hwnas.training import data as training_data
from hwnas.training.data import Data, Split

STRATEGIES = {
    "proxyless": (),
    "proxyless-rl": (),
    "darts": ("strategy.order=2",),
    "snas": (),
    "spos": ("strategy.population=3", "strategy.generations=1"),
    "random": ("strategy.trials=2",),
}


class Peeked(AssertionError): ...


@pytest.fixture
def sealed(monkeypatch):
    """From here on, opening the test split fails."""

    def refuse(_: Data) -> Split:
        raise Peeked

    monkeypatch.setattr(Data, "open_test", refuse)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_search_and_training_never_open_it(workspace: Path, sealed, strategy: str):
    config = resolve({"strategy": {"name": strategy}}, workspace / "tiny.yaml", STRATEGIES[strategy])
    with Run(config, workspace / "r") as run:
        run.train()
        assert run.journal.last("trained", role="winner")
        with pytest.raises(Peeked):
            run.data.open_test()


def test_a_run_reads_it_once_for_all_networks_after_the_last_choice(workspace: Path, monkeypatch):
    journal = workspace / "r" / "journal.jsonl"
    opened: list[list[str]] = []
    open_test = Data.open_test

    def watched(self: Data) -> Split:
        opened.append([record["kind"] for record in Journal(journal).records])
        return open_test(self)

    monkeypatch.setattr(Data, "open_test", watched)
    command = ("run", "--config", "tiny.yaml", "--out", "r", "--budget", "2ms")  # so wide that all networks fit
    assert hwnas(*command).code == 0
    (before,) = opened
    records = Journal(journal).records
    after = [record["kind"] for record in records[len(before) :]]
    assert not {"epoch", "trial", "random_trial", "chosen", "trained", "measured", "over_budget"} & set(after)
    (tested,) = [record for record in records if record["kind"] == "tested"]
    assert set(tested["accuracies"]) == {"winner", "reference", "reference_scaled"}
    assert hwnas(*command).code == 0
    assert len(opened) == 1


def test_an_estimator_that_looks_at_it_spoils_the_run(workspace: Path, monkeypatch):
    honest = EarlyStop.accuracy

    def cheating(self: EarlyStop, arch: tuple[int, ...]) -> float:
        if self.means.data._test is not None:
            self.means.data.open_test()
        return honest(self, arch)

    monkeypatch.setattr(EarlyStop, "accuracy", cheating)
    config = resolve({"strategy": {"name": "random"}}, workspace / "tiny.yaml", ("strategy.trials=2",))
    with Run(config, workspace / "r") as run:
        run.train()
        with pytest.raises(training_data.TestSplitOpened):
            run.data.open_test()  # as the run itself does, at its end


def test_the_splits_share_no_image(workspace: Path):
    config = resolve({}, workspace / "tiny.yaml", ("data.limit=null",))
    with Run(config, workspace / "r") as run:
        data = run.data
        parts = [data.weights, data.search, data.open_test()]
        sizes = [len(part) for part in parts]
        train = {pixels.tobytes() for pixels in data.train.images.pixels}
    assert sizes[0] + sizes[1] == len(data.train)
    distinct = [{pixels.tobytes() for pixels in part.images.pixels} for part in parts]
    assert distinct[0] | distinct[1] == train
    assert [len(d) for d in distinct] == sizes  # the digits hold no image twice, so disjoint means no bytes in common
    assert not distinct[0] & distinct[1]
    assert not train & distinct[2]
