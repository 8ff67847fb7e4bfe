"""What one cell found and what it cost, from its record or its run directory."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hwnas.compare.cells import Cell
from hwnas.core.arch import Arch
from hwnas.core.budget import parse_budget
from hwnas.core.journal import Journal, Record
from hwnas.run.result import NetworkResult, Result, load_result
from hwnas.search.trial import Trial, ranked

REFERENCES = {"reference": "reference", "reference scaled": "reference_scaled"}
"""Networks that every run trains beside its winner: name here → in result.json."""


@dataclass(frozen=True)
class Outcome:
    """`accuracy`: a fraction on the test split, or the truth's. `regret`: how far the truth's accuracy lies below the
    best within the budget. `over_budget`: networks judged over the budget, and the one chosen if it is. `latency_ms`:
    measured, where it was, by the budget's statistic, else predicted. `epochs`: trained while searching.
    `simulated_seconds`: what the table says that training would have taken. `incumbents`: (queries, the best so far)
    wherever that changed.
    """

    strategy: str
    budget: str
    seed: int
    arch: Arch
    budget_ms: float
    latency_ms: float
    accuracy: float | None = None
    regret: float | None = None
    over_budget: int = 0
    queries: int = 0
    epochs: float | None = None
    simulated_seconds: float | None = None
    search_seconds: float | None = None
    peak_mib: float | None = None
    incumbents: tuple[tuple[int, Arch], ...] = ()

    def facts(self) -> dict[str, Any]:
        """As JSON; times, measurements and memory under names that a journal's digest leaves out."""
        facts = asdict(self) | {"arch": list(self.arch), "peak_mib_measured": self.peak_mib}
        return {key: value for key, value in facts.items() if key not in ("incumbents", "peak_mib")}


def of_record(cell: Cell, record: Record) -> Outcome:
    """Of a search that was looked up."""
    return Outcome(
        cell.strategy,
        cell.budget,
        cell.seed,
        arch=tuple(record["arch"]),
        budget_ms=record["budget"],
        latency_ms=record["latency"],
        over_budget=record["over_budget"],
        queries=record["queries"],
        simulated_seconds=record["simulated"],
        search_seconds=record["spent_seconds"],
        incumbents=tuple((number, tuple(arch)) for number, arch in record["incumbents"]),
    )


def record_of(trials: Sequence[Trial], budget_ms: float, simulated: float | None) -> dict[str, Any]:
    """What `of_record` reads. Latencies are looked up, hence the same in every run: no `_ms`."""
    best = ranked(trials)[0]
    return {
        "arch": list(best.arch),
        "budget": budget_ms,
        "latency": best.predicted_ms,
        "over_budget": sum(trial.predicted_ms_p95 > budget_ms for trial in trials),
        "queries": len(trials),
        "simulated": simulated,
        "incumbents": [[number, list(arch)] for number, arch in incumbents(trials)],
    }


def incumbents(trials: Sequence[Trial]) -> list[tuple[int, Arch]]:
    found: list[tuple[int, Trial]] = []
    for number, trial in enumerate(trials, start=1):
        if not found or ranked([found[-1][1], trial])[0].arch != found[-1][1].arch:
            found.append((number, trial))
    return [(number, trial.arch) for number, trial in found]


def of_run(cell: Cell) -> Outcome:
    """Of a run directory, finished or only searched. Raises BadInput when it has no result yet."""
    result, journal = load_result(cell.path), Journal(cell.path / "journal.jsonl")
    searched = journal.last("searched") or {}
    trials = [trial for trial in map(Trial.of, journal.of("trial")) if not trial.failed]
    over = sum(trial.predicted_ms_p95 > _predicted_budget_ms(result) for trial in trials)
    return Outcome(
        cell.strategy,
        cell.budget,
        cell.seed,
        arch=tuple(result.arch),
        budget_ms=result.budget_ms,
        latency_ms=_latency_ms(result, cell.budget),
        accuracy=result.accuracy,
        over_budget=over + (result.within_budget is False),
        queries=len(trials),
        epochs=searched.get("epochs"),
        search_seconds=result.search_seconds,
        peak_mib=searched.get("peak_mib_measured"),
    )


def references(cell: Cell) -> list[Outcome]:
    """The hand-made networks of a finished run, as if a strategy had found them."""
    result, found = load_result(cell.path), []
    for name, field in REFERENCES.items():
        network: NetworkResult | None = getattr(result, field)
        if network is not None and network.accuracy is not None:
            ms, over = _latency_ms(network, cell.budget), network.within_budget is False
            facts = {"arch": tuple(network.arch), "budget_ms": result.budget_ms, "latency_ms": ms}
            found.append(
                Outcome(name, cell.budget, cell.seed, accuracy=network.accuracy, over_budget=int(over), **facts)
            )
    return found


def _predicted_budget_ms(result: Result) -> float:
    """As the search knew it, before anything but operators was measured. A hair is allowed for rounding."""
    budget, reference = parse_budget(result.budget), result.reference
    if budget.ms is not None or reference is None or reference.predicted_ms is None:
        return (1 + 1e-9) * result.budget_ms
    return (1 + 1e-9) * budget.resolve_ms(reference.predicted_ms)


def _latency_ms(network: Result | NetworkResult, budget: str) -> float:
    if network.measured_ms is not None:
        return network.measured_ms.p90 if parse_budget(budget).statistic == "p90" else network.measured_ms.median
    assert network.predicted_ms is not None, "a network that is not measured was predicted"
    return network.predicted_ms
