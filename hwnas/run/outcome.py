"""What a run knows of its networks, as `result.json` says it."""

from typing import Any

from hwnas.core.budget import parse_budget
from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal
from hwnas.operators import costs
from hwnas.run.config import RunConfig
from hwnas.run.final import Final
from hwnas.run.networks import Network
from hwnas.run.result import AlsoOn, MeasuredMs, NetworkResult, OnTarget, ParetoPoint, Result, versions
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


def predicted_results(
    config: RunConfig, problem: Problem, found: SearchResult, winner: Network, journal: Journal
) -> list[Result]:
    """After the search, as seen from each target: nothing is measured or trained yet."""
    views = zip(config.each(), problem.each(), strict=True)
    return [_predicted(each, view, found, winner, journal) for each, view in views]


def _predicted(config: RunConfig, problem: Problem, found: SearchResult, winner: Network, journal: Journal) -> Result:
    facts = known(winner, problem).model_dump(exclude={"note", "space"})
    profiled = sum(record["spent_seconds"] for kind in ("profiled", "profiled_also") for record in journal.of(kind))
    searched = (journal.last("searched") or {}).get("spent_seconds", 0.0)
    return Result(
        **facts,
        space=config.space.name,
        strategy=config.strategy.name,
        seed=config.seed,
        budget=str(parse_budget(config.budget)),
        budget_ms=problem.budget_ms,
        reference=known(Network("reference", problem.space, problem.space.reference()), problem),
        pareto=[_point(trial) for trial in found.pareto],
        search_seconds=searched,
        profile_seconds=profiled,
        versions=versions(),
        latency_origin=problem.latency.table.origin,
        estimated_by=str(problem.latency.table.fingerprint.identity.get("estimated_by", "")),
        predicted_operators=len(problem.latency.table.predicted(problem.space)),
    )


def complete_result(
    predicted: Result, final: Final, networks: list[Network], problem: Problem, tested: Tested
) -> Result:
    """After the final measurement on one target and the reading of the test split; `problem` as seen from there."""
    outcomes: dict[str, dict[str, Any]] = {}
    for role, m in final.measured.items():
        outcomes[role] = {
            "measured_ms": MeasuredMs(median=m.median, p90=m.p90, n=m.n),
            "within_budget": final.within_budget(role),
            "accuracy": tested.accuracies[role],
            "perplexity": tested.perplexities.get(role),
            "energy_mj": m.energy_mj,
        }
    others = {n.role: known(n, problem).model_copy(update=outcomes[n.role]) for n in networks if n.role != "winner"}
    facts = {"budget_ms": final.budget_ms, "energy_meter": final.measured["winner"].energy_meter}
    return predicted.model_copy(update=outcomes["winner"] | others | facts)


def together(results: list[Result], config: RunConfig) -> Result:
    """The first target's result, with what the others add."""
    also_on = []
    for each, result in zip(config.each()[1:], results[1:], strict=True):
        facts = {name: getattr(result, name) for name in OnTarget.model_fields}
        also_on.append(AlsoOn(target=each.target.name, precision=each.target.precision, **facts))
    return results[0].model_copy(update={"also_on": also_on})


def _point(trial: Trial) -> ParetoPoint:
    return ParetoPoint(
        arch=list(trial.arch),
        accuracy=trial.accuracy,
        predicted_ms=trial.predicted_ms,
        predicted_ms_p95=trial.predicted_ms_p95,
        others_ms=list(trial.others_ms),
    )
