"""One evaluated architecture, and what a search found."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from hwnas.core.arch import Arch


@dataclass(frozen=True)
class Trial:
    """`accuracy`: a fraction on the search split, by the search's estimator. Latencies in ms, predicted."""

    arch: Arch
    accuracy: float
    predicted_ms: float
    predicted_ms_p95: float

    def facts(self) -> dict[str, Any]:
        # Predictions come from a measured table, but are decisions of the search: hence no `_ms` at the end.
        return {
            "arch": list(self.arch),
            "accuracy": self.accuracy,
            "predicted": self.predicted_ms,
            "predicted_p95": self.predicted_ms_p95,
        }

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Trial":
        return cls(tuple(facts["arch"]), facts["accuracy"], facts["predicted"], facts["predicted_p95"])


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
    """Trials that no other beats in both latency and accuracy, fastest first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.predicted_ms, -t.accuracy, t.arch)):
        if not front or trial.accuracy > front[-1].accuracy:
            front.append(trial)
    return front


def shortlist(trials: Iterable[Trial], images: int) -> list[Trial]:
    """The order in which networks are taken: the one-standard-error rule, then by accuracy.

    Among those that `images` search images cannot tell from the best (within one binomial standard error), the slowest
    comes first: the budget is there to be used, and shared weights or a few epochs judge large networks too harshly.
    """
    order = ranked(trials)
    best = order[0].accuracy
    error = sqrt(best * (1 - best) / images)
    tied = [trial for trial in order if trial.accuracy >= best - error]
    return sorted(tied, key=lambda t: (-t.predicted_ms, t.arch)) + order[len(tied) :]


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Each architecture once, the most accurate first; of equals the faster."""
    unique = {trial.arch: trial for trial in trials}
    return sorted(unique.values(), key=lambda t: (-t.accuracy, t.predicted_ms, t.arch))
