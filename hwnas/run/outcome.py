"""What a run knows of its networks, as `result.json` says it."""

from typing import Any

from hwnas.core.budget import Budget
from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal
from hwnas.deploy.measure import Measured
from hwnas.operators import costs
from hwnas.run.config import RunConfig
from hwnas.run.networks import Network
from hwnas.run.result import MeasuredMs, NetworkResult, ParetoPoint, Result, versions
from hwnas.run.ship import Tested
from hwnas.search.problem import Problem
from hwnas.search.trial import SearchResult, Trial


def known(network: Network, problem: Problem) -> NetworkResult:
    """Without measuring or training it; a network of another space has no prediction."""
    mine = network.space is problem.space
    return NetworkResult(
        space=type(network.space).__name__.lower(),
        arch=list(network.arch),
        choices=network.space.describe(network.arch),
        predicted_ms=problem.latency.predict(network.arch) if mine else None,
        predicted_ms_p95=problem.latency.predict_p95(network.arch) if mine else None,
        params=network.space.params(network.arch),
        macs=network.space.macs(network.arch),
        peak_memory_bytes=_peak_memory_bytes(network, problem.latency.table.target.precision),
    )


def _peak_memory_bytes(network: Network, precision: str) -> int | None:
    """None where a user's own operator cannot be traced."""
    try:
        return max(map(costs.peak_activations, network.space.ops(network.arch))) * costs.BYTES[precision]
    except BadInput:
        return None


def predicted_result(
    config: RunConfig, budget: Budget, problem: Problem, found: SearchResult, winner: Network, journal: Journal
) -> Result:
    """After the search: nothing is measured or trained yet."""
    facts = known(winner, problem).model_dump(exclude={"note", "space"})
    spent = {kind: (journal.last(kind) or {}).get("spent_seconds", 0.0) for kind in ("profiled", "searched")}
    return Result(
        **facts,
        space=config.space.name,
        strategy=config.strategy.name,
        seed=config.seed,
        budget=str(budget),
        budget_ms=problem.budget_ms,
        reference=known(Network("reference", problem.space, problem.space.reference()), problem),
        pareto=[_point(trial) for trial in found.pareto],
        search_seconds=spent["searched"],
        profile_seconds=spent["profiled"],
        versions=versions(),
        latency_origin=problem.latency.table.origin,
        estimated_by=str(problem.latency.table.fingerprint.identity.get("estimated_by", "")),
        predicted_operators=len(problem.latency.table.predicted(problem.space)),
    )


def complete_result(
    predicted: Result,
    problem: Problem,
    budget: Budget,
    budget_ms: float,
    networks: list[Network],
    measured: dict[str, Measured],
    tested: Tested,
) -> Result:
    """After the final measurement and the reading of the test split. `budget_ms`: by that measurement."""
    outcomes: dict[str, dict[str, Any]] = {}
    for role, m in measured.items():
        outcomes[role] = {
            "measured_ms": MeasuredMs(median=m.median, p90=m.p90, n=m.n),
            "within_budget": m.by(budget.statistic) <= budget_ms,
            "accuracy": tested.accuracies[role],
            "perplexity": tested.perplexities.get(role),
            "energy_mj": m.energy_mj,
        }
    others = {n.role: known(n, problem).model_copy(update=outcomes[n.role]) for n in networks if n.role != "winner"}
    facts = {"budget_ms": budget_ms, "energy_meter": measured["winner"].energy_meter}
    return predicted.model_copy(update=outcomes["winner"] | others | facts)


def _point(trial: Trial) -> ParetoPoint:
    return ParetoPoint(
        arch=list(trial.arch),
        accuracy=trial.accuracy,
        predicted_ms=trial.predicted_ms,
        predicted_ms_p95=trial.predicted_ms_p95,
    )
