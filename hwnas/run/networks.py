"""The networks that a run compares: the winner, the references, and random search's best."""

from dataclasses import dataclass

from hwnas.core.arch import Arch
from hwnas.core.budget import parse_budget
from hwnas.core.errors import VerificationFailed
from hwnas.core.seeds import derive
from hwnas.deploy.measure import measure
from hwnas.devices import open_runtime
from hwnas.latency.graphs import network_graph
from hwnas.latency.protocol import Protocol
from hwnas.run.config import RunConfig
from hwnas.run.problem import limits_of
from hwnas.spaces import Space
from hwnas.training.ranks import here

SAFETY = 0.985
"""Networks are chosen a little below the budget, because a measurement repeated moves by about as much."""

_QUICK = Protocol(rounds=10, extra_rounds=4, turn_ms=8.0, min_samples=5)


@dataclass(frozen=True)
class Network:
    """An architecture with its role in the run: winner, reference, reference_scaled or random."""

    role: str
    space: Space
    arch: Arch


def choose(candidates: list[Arch], space: Space, config: RunConfig, role: str) -> tuple[Network | None, list[float]]:
    """The first candidate that measures within the budget of every target, and those budgets in ms.

    Weights do not matter to latency, so this happens before anything is trained.
    """
    networks = {str(i): Network(role, space, arch) for i, arch in enumerate(candidates)}
    fitting, budgets_ms = here().told(lambda: _within(networks, space, config, "choose", role))
    return (networks[fitting[0]] if fitting else None), budgets_ms


def narrow(space: Space, config: RunConfig) -> tuple[Network | None, str]:
    """The hand-made family's widest network that measures within the budgets and keeps the bounds; or None and why."""
    family = space.baseline()
    if family is None:
        return None, "the space has no hand-made family"
    most = space.macs(space.reference())
    widths = [(i,) for i in range(len(family.choices[0].options))]
    widths = [w for w in widths if family.macs(w) <= most] or widths[:1]
    widths = [w for w in widths if all(limit.holds(w) for limit in limits_of(config, family))]
    if not widths:
        return None, f"even the narrowest {type(family).__name__} is over the bounds"
    networks = {str(w[0]): Network("reference_scaled", family, w) for w in widths}
    fitting, _ = here().told(lambda: _within(networks, space, config, "narrow"))
    if not fitting:
        return None, f"even the narrowest {type(family).__name__} is over the budget"
    return max((networks[name] for name in fitting), key=lambda network: network.arch), ""


def _within(
    networks: dict[str, Network], space: Space, config: RunConfig, *purpose: str
) -> tuple[list[str], list[float]]:
    """The names of those that measure within the budget of every target beside the reference of `space`; the budgets in
    ms."""
    fitting, budgets_ms = networks, []
    for each in config.each():
        runtime, budget = open_runtime(each.target), parse_budget(each.budget)
        timed = {"reference": Network("reference", space, space.reference()), **networks}
        graphs = {name: network_graph(n.space, n.arch, runtime) for name, n in timed.items()}
        timings = measure(graphs, each.target, derive(config.seed, *purpose), _QUICK)
        budgets_ms.append(budget.resolve_ms(timings["reference"].by(budget.statistic)))
        limit_ms = SAFETY * budgets_ms[-1]
        fitting = {name: n for name, n in fitting.items() if timings[name].by(budget.statistic) <= limit_ms}
    return list(fitting), budgets_ms


def none_fits(budgets_ms: list[float]) -> VerificationFailed:
    budgets = " and ".join(f"{ms:.4g} ms" for ms in budgets_ms)
    return VerificationFailed(
        f"no candidate measures within {budgets}, though each was predicted to",
        "a busy machine? Run again on a quiet one, or with a larger --budget",
    )
