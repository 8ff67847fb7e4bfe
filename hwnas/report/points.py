"""What the charts show, as plain numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import HwnasError
from hwnas.latency.table import HeldOutError, MeasuredNetwork
from hwnas.report.data import RunData
from hwnas.report.summary import rows
from hwnas.search.trial import Trial, pareto


class Evaluated(NamedTuple):
    """A network that a search judged. `accuracy`: on the search split. `network`: its choices, for a reader."""

    predicted_ms: float
    accuracy: float
    network: str


@dataclass(frozen=True)
class Evaluations:
    """`front` and `winner` are of the search itself; `rivals` are random search's, where the run had one."""

    all: list[Evaluated]
    front: list[Evaluated]
    rivals: list[Evaluated]
    winner: Evaluated | None
    budget_ms: float | None
    limit_ms: float | None


class Compared(NamedTuple):
    predicted_ms: float
    measured_ms: float
    network: str


@dataclass(frozen=True)
class Fidelity:
    """`fitted` networks taught the model's correction, `held_out` ones judge it; `own` are the run's, by role."""

    fitted: list[Compared]
    held_out: list[Compared]
    own: dict[str, Compared]
    error: HeldOutError


@dataclass(frozen=True)
class Curve:
    """One quantity over epochs or trials. `limit`: what it is held against."""

    name: str
    values: list[float]
    limit: float | None = None


def evaluations(run: RunData, number: int = 0) -> Evaluations:
    """As the target of this number sees them; the front is that across all targets."""
    trials = run.trials()
    found = {trial.arch: trial for trial in trials}
    winner = found.get(run.winner)
    there = [run.result, *run.result.also_on][number]
    margin = there.predicted_ms_p95 / there.predicted_ms
    budget_ms = run.budgets_predicted_ms[number]
    return Evaluations(
        all=[_evaluated(run, trial, number) for trial in trials],
        front=[_evaluated(run, trial, number) for trial in pareto(trials)],
        rivals=[_evaluated(run, trial, number) for trial in run.trials("random_trial")],
        winner=_evaluated(run, winner, number) if winner else None,
        budget_ms=budget_ms,
        limit_ms=None if budget_ms is None else budget_ms / margin,
    )


def fidelity(run: RunData) -> Fidelity | None:
    """None where nothing was measured whole: the table was imported. Raises BadInput when it is gone or another."""
    model = run.latency
    if run.table.imported:
        return None
    own = {}
    for role, network in rows(run.result):
        if network.measured_ms and network.predicted_ms is not None:
            measured = network.measured_ms.median if model.statistic == "median" else network.measured_ms.p90
            own[role] = Compared(network.predicted_ms, measured, read(run, tuple(network.arch)))

    def compared(networks: Sequence[MeasuredNetwork]) -> list[Compared]:
        predicted = model.predict_many(np.array([n.arch for n in networks]))
        measured = [n.median_ms if model.statistic == "median" else n.p90_ms for n in networks]
        return [Compared(float(p), m, read(run, n.arch)) for p, m, n in zip(predicted, measured, networks, strict=True)]

    calibration = model.calibration
    return Fidelity(compared(calibration.fitted), compared(calibration.held_out), own, calibration.error)


def convergence(run: RunData) -> list[Curve]:
    """Of a gradient search, over its epochs: E[latency] in ms, and whatever else its strategy reports."""
    epochs = list(run.journal.of("epoch"))
    if not epochs:
        return []
    names = [name for name in epochs[0] if name not in ("kind", "epoch", "limit", "collapsing")]
    limit = epochs[0].get("limit")
    return [Curve(name, [e[name] for e in epochs], limit if name == "expected" else None) for name in names]


def best_so_far(values: Sequence[float]) -> list[float]:
    return np.maximum.accumulate(np.array(values)).tolist() if values else []


def read(run: RunData, arch: Arch) -> str:
    """The options of an architecture, or their numbers where the run's space is not at hand."""
    try:
        return ", ".join(run.space.describe(arch).values())
    except HwnasError:
        return ", ".join(map(str, arch))


def _evaluated(run: RunData, trial: Trial, number: int) -> Evaluated:
    return Evaluated(trial.latencies_ms[number], trial.accuracy, read(run, trial.arch))
