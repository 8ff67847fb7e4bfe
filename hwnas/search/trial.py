"""One evaluated architecture, and what a search found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hwnas.core.arch import Arch


@dataclass(frozen=True)
class Trial:
    """`accuracy`: a fraction on the search split, by the search's estimator. Latencies in ms, predicted; `others_ms` on
    the search's other targets. `failed`: why it could not be judged; its accuracy is 0 then, and it is no candidate."""

    arch: Arch
    accuracy: float
    predicted_ms: float
    predicted_ms_p95: float
    others_ms: tuple[float, ...] = ()
    failed: str = ""

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """On every target."""
        return (self.predicted_ms, *self.others_ms)

    def facts(self) -> dict[str, Any]:
        # Predictions come from a measured table, but are decisions of the search: hence no `_ms` at the end.
        others: dict[str, Any] = {"predicted_others": list(self.others_ms)} if self.others_ms else {}
        if self.failed:
            others["failed"] = self.failed
        return {
            "arch": list(self.arch),
            "accuracy": self.accuracy,
            "predicted": self.predicted_ms,
            "predicted_p95": self.predicted_ms_p95,
        } | others

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Trial":
        others = tuple(facts.get("predicted_others", ()))
        predicted, failed = (facts["predicted"], facts["predicted_p95"]), facts.get("failed", "")
        return cls(tuple(facts["arch"]), facts["accuracy"], *predicted, others, failed)


@dataclass(frozen=True)
class Upbringing:
    """How a proposed network is to be trained, where its strategy decides that too. `number`: its place among the
    trials, from 0. `parent`: the trial whose weights it goes on from; None for fresh ones. `rate`: of learning,
    relative to the recipe's."""

    number: int
    parent: int | None
    rate: float


@dataclass(frozen=True)
class SearchResult:
    """`candidates`: within the budget, in the order of `shortlist`. `history`: a gradient search's epochs. `epochs`:
    trained while searching, by all networks together; None where nothing was trained."""

    trials: list[Trial]
    candidates: list[Trial]
    history: list[dict[str, Any]] = field(default_factory=list)
    epochs: float | None = None

    @property
    def pareto(self) -> list[Trial]:
        return pareto(self.trials)


def pareto(trials: Iterable[Trial]) -> list[Trial]:
    """Trials that no other beats in accuracy and in latency on every target; the fastest on the first comes first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.latencies_ms, -t.accuracy, t.arch)):
        # Whatever beats this one came before it.
        if not any(kept.accuracy >= trial.accuracy and _nowhere_slower(kept, trial) for kept in front):
            front.append(trial)
    return front


def _nowhere_slower(ours: Trial, theirs: Trial) -> bool:
    return all(a <= b for a, b in zip(ours.latencies_ms, theirs.latencies_ms, strict=True))


def shortlist(trials: Iterable[Trial], error_of: Callable[[float], float]) -> list[Trial]:
    """The order in which networks are taken: the one-standard-error rule, then by accuracy.

    Among those that the search split cannot tell from the best (within one standard error of its accuracy), the slowest
    comes first: the budget is there to be used, and shared weights or a few epochs judge large networks too harshly.
    """
    order = ranked(trials)
    best = order[0].accuracy
    tied = [trial for trial in order if trial.accuracy >= best - error_of(best)]
    return sorted(tied, key=lambda t: (-t.predicted_ms, t.arch)) + order[len(tied) :]


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Each architecture once, as its best trial; the most accurate first, of equals the faster."""
    unique = {trial.arch: trial for trial in sorted(trials, key=lambda t: t.accuracy)}
    return sorted(unique.values(), key=lambda t: (-t.accuracy, t.predicted_ms, t.arch))
