"""The driver with workers on paper, who answer in any order: a seed and their number are one search."""

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from hwnas.core.config import validate
from hwnas.core.errors import BadInput, HwnasError
from hwnas.core.journal import Journal
from hwnas.core.plugins import load, names
from hwnas.core.seeds import derive
from hwnas.search.ask_tell import propose
from hwnas.search.judges import Judges, Question, Verdict
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import SearchResult
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices

UNAFFECTED = {"random", "spos", "nsga2", "nao", "local-search"}
"""Their proposals are the same for any number of workers (docs/workers.md)."""
SETTINGS: dict[str, dict[str, Any]] = {
    "spos": {"population": 10, "generations": 3},
    "nsga2": {"population": 10},
    "nao": {"epochs": 10},
}
PROPOSERS = sorted(name for name in names("strategies") if issubclass(load("strategies", name), Proposer))


class OnPaper(Judges):
    """`workers` of them, who finish in an order of their own. `dies`: after so many answers."""

    def __init__(self, workers: int, order: int, dies: int | None = None, poison: int | None = None) -> None:
        self.workers, self.rng, self.left, self.poison = workers, Random(order), dies, poison
        self.waiting: list[Question] = []
        self.asked: list[Question] = []

    def submit(self, question: Question) -> None:
        self.waiting.append(question)
        self.asked.append(question)

    def next(self) -> tuple[Question, Verdict]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left = None if self.left is None else self.left - 1
        question = self.waiting.pop(self.rng.randrange(min(self.workers, len(self.waiting))))
        if self.poison is not None and question.arch[0] == self.poison:
            return question, Verdict(0.0, 0.0, "its worker was killed by SIGKILL", "logs/x.log")
        return question, Verdict(derive(0, *question.arch) / 2**63, 0.0)


def problem() -> Problem:
    widths = [4] * 6
    return paper_problem(PaperSpace(widths, one_operator_an_option(widths)), prices(24, 1), 0.3)


def search(name: str, folder: Path, judges: Judges) -> SearchResult:
    plugin = load("strategies", name)
    settings = {"trials": 30} | SETTINGS.get(name, {}) if "trials" in plugin.Settings.model_fields else SETTINGS[name]
    means: Any = SimpleNamespace(
        data=SimpleNamespace(search=SimpleNamespace(standard_error=lambda accuracy: 0.01)), checkpoints=folder
    )
    estimator: Any = SimpleNamespace(prepare=lambda: None, epochs=lambda queries: None)
    strategy = plugin(problem(), validate(plugin.Settings, settings, "strategy"))
    return propose(strategy, estimator, means, problem(), Journal(folder / "journal.jsonl"), "trial", judges)


def digest(folder: Path) -> str:
    return Journal(folder / "journal.jsonl").digest()


@pytest.mark.parametrize("name", PROPOSERS)
def test_the_order_in_which_workers_answer_changes_nothing(name: str, tmp_path: Path) -> None:
    digests = {}
    for workers, order in ((1, 0), (2, 0), (2, 1), (5, 0), (5, 1)):
        folder = tmp_path / f"{workers}-{order}"
        judges = OnPaper(workers, order)
        search(name, folder, judges)
        digests[workers, order] = digest(folder)
        assert all(question.number - question.asked_at <= 4 * (workers - 1) for question in judges.asked)
    assert digests[2, 0] == digests[2, 1] and digests[5, 0] == digests[5, 1]
    assert (len(set(digests.values())) == 1) == (name in UNAFFECTED)


@pytest.mark.parametrize("name", PROPOSERS)
def test_killed_anywhere_it_goes_on_to_the_same_search(name: str, tmp_path: Path) -> None:
    search(name, tmp_path / "whole", OnPaper(3, 0))
    asked = 0
    for order in range(100):
        judges = OnPaper(3, order, dies=4)
        try:
            search(name, tmp_path / "parts", judges)
            break
        except KeyboardInterrupt:
            asked += 4
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    trials = len(Journal(tmp_path / "whole" / "journal.jsonl").records)
    assert asked + 4 - judges.left == trials, "what was answered before the kill was not asked again"  # type: ignore[operator]


@pytest.mark.parametrize("name", PROPOSERS)
def test_another_number_of_workers_goes_on_with_a_search(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(name, tmp_path, OnPaper(3, 0, dies=10))
    begun = Journal(tmp_path / "journal.jsonl").records
    search(name, tmp_path, OnPaper(1, 0))
    assert Journal(tmp_path / "journal.jsonl").records[: len(begun)] == begun


@pytest.mark.parametrize("name", PROPOSERS)
def test_a_poisoned_architecture_is_recorded_and_never_the_winner(name: str, tmp_path: Path) -> None:
    judges = OnPaper(2, 0, poison=2)
    try:
        found = search(name, tmp_path, judges)
    except HwnasError as hopeless:
        assert "5 trials in a row failed" in hopeless.what
        return
    failed = [record for record in Journal(tmp_path / "journal.jsonl").records if "failed" in record]
    assert failed and all(r["arch"][0] == 2 and "SIGKILL" in r["failed"] and r["log"] for r in failed)
    assert all(trial.arch[0] != 2 for trial in [*found.candidates, *found.trials, *found.pareto])
    before = (tmp_path / "journal.jsonl").read_bytes()
    again = OnPaper(2, 0, poison=2)
    assert search(name, tmp_path, again) == found and not again.asked
    assert (tmp_path / "journal.jsonl").read_bytes() == before


def test_nothing_but_failures_ends_the_search(tmp_path: Path) -> None:
    class Broken(OnPaper):
        def next(self) -> tuple[Question, Verdict]:
            return self.waiting.pop(0), Verdict(0.0, 0.0, "no CUDA device", "logs/trial-4.log")

    with pytest.raises(HwnasError, match="5 trials in a row failed, the last: no CUDA device") as refused:
        search("random", tmp_path, Broken(2, 0))
    assert "logs/trial-4.log" in refused.value.mend
    # The fault is mended, and the same command finds a search of which nothing was lost and nothing spoiled.
    found = search("random", tmp_path, OnPaper(2, 0))
    fresh = search("random", tmp_path / "fresh", OnPaper(2, 0))
    assert found == fresh and digest(tmp_path) == digest(tmp_path / "fresh")


def test_failures_at_the_end_are_recorded(tmp_path: Path) -> None:
    class Ending(OnPaper):
        def next(self) -> tuple[Question, Verdict]:
            question, verdict = super().next()
            return question, verdict if question.number < 27 else Verdict(0.0, 0.0, "killed", "logs/x.log")

    assert len(search("random", tmp_path, Ending(1, 0)).trials) == 27
    records = list(Journal(tmp_path / "journal.jsonl").of("trial"))
    assert ["failed" in record for record in records] == [False] * 27 + [True] * 3


def test_another_search_s_journal_is_refused(tmp_path: Path) -> None:
    search("random", tmp_path, OnPaper(1, 0))
    with pytest.raises(BadInput, match="another search"):
        search("local-search", tmp_path, OnPaper(1, 0))
