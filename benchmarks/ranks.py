"""Two ranks against one at the same global batch: are their losses equal, and what is the speed-up?

    python benchmarks/ranks.py                        (some minutes on two cores)
    python benchmarks/ranks.py --only curves

Curves: the losses of 50 weight steps, and of the architecture steps between them, on digits. In float64 the ranks must
follow one rank to 1e-5: the arithmetic is the same. In float32 any two orders of a sum part after a while, and the
control says when: one rank alone that has each batch in the opposite order.

Speed: the median milliseconds of a step in the space `mobile`, one thread a rank; every setting in turn, round after
round, in processes of their own. The median over the rounds and their range; ratios are of the same round. CPU time is
that of one rank: on a busy machine it tells how long a step keeps a core.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np
import torch

from hwnas.core.config import validate
from hwnas.core.machine import cpu_name
from hwnas.core.plugins import load
from hwnas.search.estimators._uniform import Uniform
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.estimator import small_means
from hwnas.testing.paper import paper_problem, prices
from hwnas.training.compute import Device
from hwnas.training.data import open_data
from hwnas.training.network import Loss
from hwnas.training.ranks import here
from hwnas.training.settings import Compute, Recipe
from hwnas.training.supernet import Companion, LossOf, SharedWeights

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "single path": ("", {}),
    "two paths": ("proxyless", {"warmup": 0.0}),
    "darts": ("darts", {}),
    "darts, second order": ("darts", {"order": 2}),
    "snas": ("snas", {}),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "1 rank": {},
    "2 ranks": {"ranks": 2},
    "2 ranks, batch norms apart": {"ranks": 2, "batch_norm": "apart"},
}
_STEPS, _FIRST = 50, 5
"""Steps of a curve; those that a median leaves out."""


class Recorded:
    """A companion whose every loss and step time is kept."""

    def __init__(self, companion: Companion, steps: int) -> None:
        self.companion, self.steps, self.losses = companion, steps, []
        self.ms: list[np.ndarray] = []
        """Of each step: real, and of this process on the CPU."""
        self.gates, self.state, self.load_state = companion.gates, companion.state, companion.load_state
        self.start = self.now()

    def now(self) -> np.ndarray:
        return np.array([perf_counter_ns(), process_time_ns()]) / 1e6

    def loss(self, inner: Loss) -> Loss:
        def recorded(*arguments: Any) -> torch.Tensor:
            value = inner(*arguments)
            self.losses.append(value.item())
            return value

        return recorded

    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        self.companion.update(loss_of, progress, generator)
        self.ms.append(self.now() - self.start)
        if len(self.ms) == self.steps:
            raise StopIteration
        self.start = self.now()

    def epoch_done(self, epoch: int) -> None: ...


def child(method: str, steps: int, batch: int | None, batch_norm: str, double: bool, opposite: bool) -> None:
    """As one rank of those that torchrun started, or alone. `batch`: of the space `mobile`; None: a small space."""
    weights = shared_weights(batch, steps, batch_norm)
    name, own = METHODS[method]
    companion: Companion = Uniform(weights.space)
    if name:
        problem = paper_problem(weights.space, prices(len(weights.space.operators()), 1), 0.5)
        plugin = load("strategies", name)
        companion = plugin(problem, validate(plugin.Settings, own, "strategy"), weights.recipe.epochs)
    recorded = Recorded(companion, steps)
    weights._loss = recorded.loss(weights._loss)  # type: ignore[method-assign]
    run = weights.run
    if double:
        weights.net.double()
        weights.run = lambda x, gates: run(x.double(), gates)
    if opposite:
        weights.run = lambda x, gates: run(x.flip(0), gates).flip(0)
    with contextlib.suppress(StopIteration):
        weights.train(recorded, None, method)
    if here().writer:
        ms = np.median(recorded.ms[_FIRST:], axis=0).tolist()
        print(json.dumps({"losses": recorded.losses, "ms": ms}))


def shared_weights(batch: int | None, steps: int, batch_norm: str) -> SharedWeights:
    if batch is None:
        means = small_means(Path())
        recipe = means.recipe.model_copy(update={"epochs": steps // 9 + 1})
        return SharedWeights(means.space, means.data, recipe, means.device, 0)
    data = open_data("digits", {}, 32, 0)
    space = Mobile(MobileSettings(), channels=data.channels, classes=data.classes)
    recipe = Recipe(epochs=steps // (len(data.weights) // batch) + 1, batch_size=batch, learning_rate=0.05)
    compute = validate(Compute, {"device": "cpu", "threads": 1, "batch_norm": batch_norm}, "compute")
    return SharedWeights(space, data, recipe, Device(compute), 0)


def started(method: str, ranks: int = 1, **own: Any) -> dict[str, Any]:
    """What a child prints. Raises CalledProcessError when it fails."""
    usual = {"steps": _STEPS, "batch": None, "batch_norm": "together", "double": False, "opposite": False}
    facts = {"method": method} | usual | own
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *torchrun, __file__, "--child", json.dumps(facts)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def parting(ours: list[float], theirs: list[float]) -> tuple[float, int]:
    """The largest difference, and the losses until it first exceeds 1e-5."""
    apart = np.abs(np.array(ours) - np.array(theirs))
    over = np.flatnonzero(apart > 1e-5)
    return float(apart.max()), int(over[0]) if len(over) else len(apart)


def curves() -> None:
    print("| method | losses | float64: largest difference | float32 | within 1e-5 for | control | within 1e-5 for |")
    print("|---|---|---|---|---|---|---|")
    for method in METHODS:
        exact = [started(method, ranks, double=True)["losses"] for ranks in (1, 2)]
        one, two = (started(method, ranks)["losses"] for ranks in (1, 2))
        far, kept = parting(one, two)
        control, control_kept = parting(one, started(method, opposite=True)["losses"])
        row = f"| {method} | {len(one)} | {parting(*exact)[0]:.1e} | {far:.1e} | {kept} losses"
        print(f"{row} | {control:.1e} | {control_kept} losses |", flush=True)


def speed(rounds: int) -> None:
    print("| step, global batch | ranks | ms (range) | speed-up (range) | CPU ms of a rank (range) | ratio |")
    print("|---|---|---|---|---|---|")
    for method, batch in (("single path", 32), ("single path", 128), ("darts", 32)):
        steps = _FIRST + (20 if method == "single path" else 8)
        ms: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
        for _ in range(rounds):
            for name, own in SETTINGS.items():
                ms[name].append(started(method, batch=batch, steps=steps, **own)["ms"])
        alone = np.array(ms["1 rank"])
        for name, each in ms.items():
            (real, cpu), (faster, less) = np.array(each).T, (alone / np.array(each)).T
            row = f"| {method}, {batch} | {name} | {ranged(real, 1)} | {ranged(faster, 2)}"
            print(f"{row} | {ranged(cpu, 1)} | {np.median(less):.2f} |", flush=True)


def ranged(values: np.ndarray, digits: int) -> str:
    """The median, and from where to where."""
    return f"{np.median(values):.{digits}f} ({values.min():.{digits}f}–{values.max():.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("curves", "speed"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(**json.loads(options.child))
        return
    print(f"{cpu_name()}, torch {torch.__version__}, gloo\n")
    if options.only != "speed":
        curves()
        print()
    if options.only != "curves":
        speed(options.rounds)


if __name__ == "__main__":
    main()
