"""Ask, judge, tell, by any number of workers, every decision in the journal; started again, it goes on from there.

Results are told in the order of the proposals, and how many a proposal may be without hangs on the strategy and the
number of workers alone (`Proposer.outstanding`): never on who was faster. So a seed and a number of workers are one
search, and where the strategy needs what it asks for, or never listens, any number of workers is the same one.
"""

from collections import deque
from typing import Any

from hwnas.core.errors import BadInput, HwnasError
from hwnas.core.journal import Journal
from hwnas.core.progress import Progress
from hwnas.search.estimators import Estimator, Means
from hwnas.search.judges import Here, Judges, Question, Verdict
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import SearchResult, Trial, shortlist

_AHEAD = 4
"""A slow trial holds nobody up until each other worker has done so many."""
_HOPELESS = 5
"""Failures in a row that end a search: it is hardly the architectures' fault."""


def propose(
    strategy: Proposer,
    estimator: Estimator,
    means: Means,
    problem: Problem,
    journal: Journal,
    kind: str,
    judges: Judges | None = None,
) -> SearchResult:
    """Trials already in the journal (records of `kind`) are replayed through the strategy. `judges`: other than this
    process with `estimator`.

    Raises BadInput when the journal belongs to another search, HwnasError when nothing but failures comes.
    """
    early = Journal(means.checkpoints / "early.jsonl")
    search = _Search(strategy, problem, journal, kind, judges or Here(estimator), early)
    if len(search.done) < strategy.trials:
        estimator.prepare()
    trials = search.run()
    judged = [trial for trial in trials if not trial.failed]
    if not judged:
        raise HwnasError(f"every trial failed, the last: {trials[-1].failed}", "see its log, in logs/ of the run")
    found = shortlist(judged, means.data.search.standard_error)
    return SearchResult(judged, found, epochs=estimator.epochs(len(trials)))


class _Search:
    def __init__(
        self, strategy: Proposer, problem: Problem, journal: Journal, kind: str, judges: Judges, early: Journal
    ) -> None:
        self.strategy, self.problem, self.journal, self.kind = strategy, problem, journal, kind
        self.judges, self.early = judges, early
        self.done = list(journal.of(kind))
        self.kept = {record["number"]: record for record in early.of("early")}
        """What came before its turn, and a kill before that."""
        self.asked = deque[Question]()
        """Not told yet."""
        self.verdicts: dict[int, Verdict] = {}
        """Of those: what came before its turn."""
        self.trials: list[Trial] = []
        self.best = 0.0
        self.failures: list[dict[str, Any]] = []
        """In a row, not in the journal yet."""

    def run(self) -> list[Trial]:
        total, label = self.strategy.trials, f"search: {type(self.strategy).__name__.lower()} trials"
        with Progress(label, total, done=len(self.done)) as self.progress:
            for number in range(total):
                while len(self.trials) < self._due(number):
                    self._tell()
                self._ask(number)
            while self.asked:
                self._tell()
        self._write_failures()
        return self.trials

    def _due(self, number: int) -> int:
        """So many results are told before this proposal."""
        if number < len(self.done):
            return self.done[number].get("asked_at", number)
        workers = self.judges.workers
        return number - min(number, self.strategy.outstanding(workers), _AHEAD * (workers - 1))

    def _ask(self, number: int) -> None:
        arch = self.strategy.ask()
        question = Question(number, arch, self.strategy.upbringing(), len(self.trials))
        self.asked.append(question)
        if number < len(self.done):
            if tuple(self.done[number]["arch"]) != arch:
                raise BadInput(f"{self.journal.path} holds another search than this one", "choose another --out")
            return
        assert self.problem.feasible(arch), f"{type(self.strategy).__name__} proposed an architecture over the budget"
        known = self.kept.get(number)
        if known is None or known["arch"] != list(arch) or known["raised"] != question.raised:
            self.judges.submit(question)
        else:
            self.verdicts[number] = Verdict(known["accuracy"], known["spent_seconds"], known["failed"], known["log"])

    def _tell(self) -> None:
        question = self.asked.popleft()
        known = question.number < len(self.done)
        trial = Trial.of(self.done[question.number]) if known else self._judged(question)
        self.best = max(self.best, trial.accuracy)
        self.trials.append(trial)
        self.strategy.tell(trial)
        if not known:
            self.progress.advance(note=f"best {self.best:.3f}")

    def _judged(self, question: Question) -> Trial:
        while question.number not in self.verdicts:
            answered, verdict = self.judges.next()
            self.verdicts[answered.number] = verdict
            if answered is not question and not verdict.failed:
                self._keep(answered, verdict)
        verdict = self.verdicts.pop(question.number)
        trial = self.problem.trial(question.arch, verdict.accuracy, verdict.failed)
        facts = trial.facts() | question.facts() | {"spent_seconds": verdict.seconds}
        if not verdict.failed:
            self._write_failures()
            self.journal.append(self.kind, **facts)
            return trial
        # Held back until a success: the same command asks again for what failed by a fault that has been mended.
        self.failures.append(facts | {"log": verdict.log})
        if len(self.failures) == _HOPELESS:
            raise HwnasError(
                f"{_HOPELESS} trials in a row failed, the last: {verdict.failed}", f"see {verdict.log} of the run"
            )
        return trial

    def _write_failures(self) -> None:
        for facts in self.failures:
            self.journal.append(self.kind, **facts)
        self.failures.clear()

    def _keep(self, question: Question, verdict: Verdict) -> None:
        """A kill before its turn must not cost it."""
        facts = {"accuracy": verdict.accuracy, "failed": verdict.failed, "log": verdict.log}
        key = {"number": question.number, "arch": list(question.arch), "raised": question.raised}
        self.early.jot("early", **key, **facts, spent_seconds=verdict.seconds)
