"""The networks that a run compares: the winner, the references, and random search's best."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hwnas.core.arch import Arch
from hwnas.core.budget import Budget
from hwnas.core.errors import VerificationFailed
from hwnas.core.seeds import derive
from hwnas.core.target import Target
from hwnas.deploy.measure import measure
from hwnas.devices import open_runtime
from hwnas.latency.graphs import network_graph
from hwnas.latency.protocol import Protocol
from hwnas.run.config import RunConfig
from hwnas.spaces import Space
from hwnas.training import checkpoint
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.training.network import Loss, train
from hwnas.training.settings import Recipe

Initialise = Callable[[nn.Module], object]
"""Gives a freshly built network its starting weights, in place."""

SAFETY = 0.985
"""Networks are chosen a little below the budget, because a measurement repeated moves by about as much."""

_QUICK = Protocol(rounds=10, extra_rounds=4, turn_ms=8.0, min_samples=5)


@dataclass(frozen=True)
class Network:
    """An architecture with its role in the run: winner, reference, reference_scaled or random."""

    role: str
    space: Space
    arch: Arch


def choose(
    candidates: list[Arch], space: Space, budget: Budget, target: Target, seed: int, role: str
) -> tuple[Network | None, float]:
    """The first candidate that measures within the budget beside the reference, and the budget in ms then.

    Weights do not matter to latency, so this happens before anything is trained.
    """
    runtime = open_runtime(target)
    graphs = {"reference": network_graph(space, space.reference(), runtime)}
    graphs |= {str(i): network_graph(space, arch, runtime) for i, arch in enumerate(candidates)}
    timings = measure(graphs, target, derive(seed, "choose", role), _QUICK)
    budget_ms = budget.resolve_ms(timings["reference"].by(budget.statistic))
    for i, arch in enumerate(candidates):
        if timings[str(i)].by(budget.statistic) <= SAFETY * budget_ms:
            return Network(role, space, arch), budget_ms
    return None, budget_ms


def narrow(space: Space, budget: Budget, config: RunConfig) -> tuple[Network | None, str]:
    """The hand-made family's widest network that measures within the budget and keeps the bounds; or None and why."""
    family = space.baseline()
    if family is None:
        return None, "the space has no hand-made family"
    limit = space.macs(space.reference())
    widths = [(i,) for i in range(len(family.choices[0].options))]
    widths = [w for w in widths if family.macs(w) <= limit] or widths[:1]
    bounds = config.bounds.limits(family, config.target.precision)
    widths = [w for w in widths if all(bound.holds(w) for bound in bounds)]
    if not widths:
        return None, f"even the narrowest {type(family).__name__} is over the bounds"
    runtime = open_runtime(config.target)
    graphs = {"reference": network_graph(space, space.reference(), runtime)}
    graphs |= {str(w[0]): network_graph(family, w, runtime) for w in widths}
    timings = measure(graphs, config.target, derive(config.seed, "narrow"), _QUICK)
    budget_ms = budget.resolve_ms(timings["reference"].by(budget.statistic))
    fitting = [w for w in widths if timings[str(w[0])].by(budget.statistic) <= SAFETY * budget_ms]
    if not fitting:
        return None, f"even the narrowest {type(family).__name__} is over the budget"
    return Network("reference_scaled", family, max(fitting)), ""


def train_network(
    network: Network,
    data: Data,
    recipe: Recipe,
    device: Device,
    seed: int,
    folder: Path,
    loss: Loss | None = None,
    initialise: Initialise | None = None,
) -> nn.Module:
    """Trained on the weights and search splits together: nothing is left to choose. One recipe for every role.

    Resumes from `folder`; a finished network is loaded.
    """
    torch.manual_seed(derive(seed, "network", network.role) % 2**63)
    module = network.space.build(network.arch)
    name = f"{network.role}-{'.'.join(map(str, network.arch))}"
    final = folder / f"{name}.trained.safetensors"
    if final.exists():
        module.load_state_dict(checkpoint.load(final)[0]["model"])
        return module.eval()
    if initialise:
        initialise(module)
    progress = folder / f"{name}.safetensors"
    train(module, data.train, recipe, device, derive(seed, "train"), f"train {network.role}", progress, loss)
    module.cpu()
    checkpoint.save(final, {"model": module.state_dict()}, {"arch": list(network.arch)})
    progress.unlink(missing_ok=True)
    return module


def none_fits(budget_ms: float) -> VerificationFailed:
    return VerificationFailed(
        f"no candidate measures within {budget_ms:.4g} ms, though each was predicted to",
        "a busy machine? Run again on a quiet one, or with a larger --budget",
    )
