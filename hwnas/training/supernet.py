"""Training shared weights: the paths of each step are chosen by whoever searches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput
from hwnas.core.progress import Progress
from hwnas.core.seeds import derive
from hwnas.spaces import Gates, Space
from hwnas.training import checkpoint
from hwnas.training.batch_norm import batch_norms, reestimate, statistics_kept
from hwnas.training.compute import Device
from hwnas.training.data import Batch, Data
from hwnas.training.graphed import Graphed
from hwnas.training.joint_norm import join, settle
from hwnas.training.network import Loss, default_loss, gradients_of, score
from hwnas.training.schedule import clip_gradient, learning_rate, optimizer_of, set_learning_rate
from hwnas.training.settings import Recipe

_BN_IMAGES = 1024
"""Images to re-estimate batch-norm statistics from; SPOS uses about 20k of ImageNet's 1.28M."""


@dataclass(frozen=True)
class LossOf:
    """What the weights tell a search after one of their steps. `loss_of(gates)`: on a batch of the search split."""

    search: Callable[[Gates], Tensor]
    """On a batch of the search split, a fresh one every time."""
    again: Callable[[Gates], Tensor]
    """On the batch of the weight step just taken."""
    taken: Tensor
    """The loss that step started from."""
    optimizer: torch.optim.SGD
    """Of the weights, as it took that step."""
    averaged: Callable[[Sequence[Tensor]], object] = lambda gradients: None
    """Gradients of the weights are of this rank's images alone until this averages them, in place; those of gates come
    averaged."""

    def __call__(self, gates: Gates) -> Tensor:
        return self.search(gates)


class Companion(Protocol):
    """What is searched while the weights are trained."""

    def gates(self, generator: torch.Generator) -> Gates:
        """The paths of the next weight step. Where they hang on a parameter, that step's backward pass reaches it."""
        ...

    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        """Called after every weight step; `progress` in epochs."""
        ...

    def epoch_done(self, epoch: int) -> None: ...

    def state(self) -> checkpoint.Tensors: ...

    def load_state(self, state: checkpoint.Tensors) -> None: ...


Criterion = Callable[[Loss], Loss]
"""From the run's loss that of one update, called once a path, in their order."""


class SharedWeights:
    """A space's supernet with its data: trained once, then asked about single architectures.

    `passes`: paths of one update, their gradients summed. An epoch costs the same: it takes as many fewer updates.
    """

    def __init__(
        self,
        space: Space,
        data: Data,
        recipe: Recipe,
        device: Device,
        seed: int,
        loss: Loss | None = None,
        passes: int = 1,
        criterion: Criterion = lambda loss: loss,
    ) -> None:
        self.passes, self.criterion = passes, criterion
        self.space, self.data, self.recipe, self.device, self.seed = space, data, recipe, device, seed
        self.loss, self.ranks = loss or default_loss(recipe), device.ranks
        torch.manual_seed(derive(seed, "supernet") % 2**63)
        self.net = space.supernet().to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
        join(self.net, device.norm_ranks)
        self.run: Callable[[Any, Gates], Tensor] = Graphed(self.net, space, device)
        splits = (data.weights, data.search)
        self._weights, self._search = (split.on(device.torch).share(self.ranks) for split in splits)

    def train(self, companion: Companion, path: Path | None, label: str) -> None:
        """`path`: the checkpoint of every epoch; training goes on from it. Raises BadInput on divergence."""
        optimizer = optimizer_of(self.net, self.recipe)
        start = self._resume(path, optimizer, companion)
        steps = len(self._weights) // self.recipe.batch_size // self.passes
        if steps == 0:
            few = f"an epoch of {len(self._weights)} samples has fewer batches of {self.recipe.batch_size}"
            what = f"{few} than an update has passes ({self.passes})"
            raise BadInput(what, "--set search.batch_size=SMALLER")
        with Progress(label, self.recipe.epochs, done=start) as progress:
            for epoch in range(start, self.recipe.epochs):
                generator = torch.Generator().manual_seed(derive(self.seed, "supernet epoch", epoch))
                guide = self._search.endless(self.recipe.batch_size, self.seed, "guide", epoch)
                batches = self._weights.epoch(self.recipe.batch_size, generator)
                for i, batch in enumerate(islice(batches, steps)):
                    set_learning_rate(optimizer, learning_rate(self.recipe, epoch * steps + i, steps))
                    self.step(companion, batch, guide, optimizer, epoch + i / steps, generator)
                companion.epoch_done(epoch)
                settle(self.net, self.device)
                self.ranks.require_agreement([*self.net.state_dict().values(), *companion.state().values()])
                if path:
                    groups = {
                        "model": self.net.state_dict(),
                        "momentum": checkpoint.momentum_of(optimizer, self.net),
                        "companion": companion.state(),
                    }
                    self.ranks.save(path, groups, {"epoch": epoch + 1})
                progress.advance()

    def step(
        self,
        companion: Companion,
        batch: Batch,
        guide: Iterator[Batch],
        optimizer: torch.optim.SGD,
        progress: float,
        generator: torch.Generator,
    ) -> None:
        """One step of the weights on `batch`, then the companion's; `guide` gives batches of the search split."""
        paths = [companion.gates(generator) for _ in range(self.passes)]
        taken = self.weight_step(paths, batch, optimizer)
        search, again = (lambda gates: self._loss(gates, next(guide))), (lambda gates: self._loss(gates, batch))
        loss_of = LossOf(search, again, taken, optimizer, self.ranks.average)
        with statistics_kept(self.net):
            companion.update(loss_of, progress, generator)

    def weight_step(self, paths: Sequence[Gates], batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
        """One SGD step on the sum of the paths' losses: weights of no path have no gradient, so momentum leaves them in
        peace. One path's graph is held at a time.

        Returns the first path's loss before it.
        """
        self.net.train()
        optimizer.zero_grad(set_to_none=True)
        loss, values = self.criterion(self.loss), []
        for gates in paths:
            value = self._loss(gates, batch, loss)
            if not torch.isfinite(value):
                raise BadInput(f"the supernet's loss became {value.item()}", "--set search.learning_rate=SMALLER")
            value.backward()
            values.append(value.detach())
        self.ranks.average(gradients_of(self.net))
        clip_gradient(optimizer, self.recipe)
        optimizer.step()
        return values[0]

    def _loss(self, gates: Gates, batch: Batch, loss: Loss | None = None) -> Tensor:
        """Over all ranks, each of which has its slice of the batch."""
        x, y = batch[0].to(self.device.torch), batch[1].to(self.device.torch)
        with self.device.autocast():
            logits = self.run(x, beside(self.ranks.replicated(gates), self.device.torch))
            return self.ranks.mean((loss or self.loss)(logits, y))

    def accuracy(self, arch: Arch) -> float:
        """On the search split, with inherited weights and this path's statistics. The supernet is untouched."""
        network = self.space.build(arch).to(self.device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.load_state_dict(self.space.inherited(self.net, arch))
        generator = torch.Generator().manual_seed(derive(self.seed, "statistics"))
        batches = self._weights.epoch(self.recipe.batch_size, generator)
        enough = max(1, min(_BN_IMAGES, len(self._weights)) // self.recipe.batch_size)
        reestimate(
            network, batch_norms(network), (x for _, (x, _) in zip(range(enough), batches, strict=False)), self.device
        )
        return score(network, self._search, self.device)

    def _resume(self, path: Path | None, optimizer: torch.optim.SGD, companion: Companion) -> int:
        found = self.ranks.load(path) if path else None
        if found is None:
            return 0
        groups, facts = found
        self.net.load_state_dict(groups["model"])
        checkpoint.restore_momentum(optimizer, self.net, groups.get("momentum", {}))
        companion.load_state(groups.get("companion", {}))
        return int(facts["epoch"])


def beside(gates: Gates, device: torch.device) -> Gates:
    """Weights of paths that all run go to the device once a choice: multiplied from here, every operator's gradient
    would wait for a transfer of its own. A choice with a weight of 0 stays, because `mix` looks at it.
    """
    if device.type == "cpu":
        return gates
    placed = dict(gates)
    for choice, paths in gates.items():
        weights = [weight for weight in paths.values() if weight is not None and weight.item() != 0]
        if len(weights) == len(paths):
            moved = torch.stack(weights).to(device, torch.float32)
            placed[choice] = dict(zip(paths, moved.unbind(), strict=True))
    return placed
