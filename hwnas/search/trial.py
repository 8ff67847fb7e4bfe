"""One evaluated architecture, and what a search found."""

from collections.abc import Iterable
from dataclasses import dataclass, field
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
    """`candidates`: within the budget by prediction, best first. `history`: a gradient search's epochs."""

    trials: list[Trial]
    candidates: list[Trial]
    history: list[dict[str, Any]] = field(default_factory=list)

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


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Each architecture once, the most accurate first; of equals the faster."""
    unique = {trial.arch: trial for trial in trials}
    return sorted(unique.values(), key=lambda t: (-t.accuracy, t.predicted_ms, t.arch))
