"""Training and judging one network: one plain loop, which a looker-on may leave after any epoch."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.core.errors import BadInput
from hwnas.core.progress import Progress
from hwnas.core.seeds import derive
from hwnas.training import checkpoint
from hwnas.training.batch_norm import batch_norms, reestimate
from hwnas.training.compute import Device
from hwnas.training.data import Batch, Split
from hwnas.training.schedule import learning_rate, optimizer_of, set_learning_rate
from hwnas.training.settings import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [n, classes], labels [n]) → scalar."""


def default_loss(recipe: Recipe) -> Loss:
    return partial(F.cross_entropy, label_smoothing=recipe.label_smoothing)


def train(
    network: nn.Module,
    split: Split,
    recipe: Recipe,
    device: Device,
    seed: int,
    label: str,
    path: Path | None = None,
    loss: Loss | None = None,
) -> nn.Module:
    """Train in place and return the network in eval mode. `path`: the checkpoint, written after every epoch.

    Raises BadInput when the loss is no longer finite.
    """
    epochs = train_by_epoch(network, split, recipe, device, seed, label, path, loss)
    with Progress(label, recipe.epochs, done=next(epochs).number) as progress:
        for _ in epochs:
            progress.advance()
    return network.eval()


class Epoch(NamedTuple):
    """`number` epochs are done. `training_accuracy`: of the last one's batches as they were trained on, a fraction."""

    number: int
    training_accuracy: float


def train_by_epoch(
    network: nn.Module,
    split: Split,
    recipe: Recipe,
    device: Device,
    seed: int,
    label: str,
    path: Path | None = None,
    loss: Loss | None = None,
) -> Iterator[Epoch]:
    """As `train`, for one who looks on after every epoch and may stop. First what the checkpoint holds is yielded.

    An epoch's batches depend only on the seed and its number, so a run that goes on from the checkpoint ends in the
    same weights.
    """
    loss = loss or default_loss(recipe)
    network.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_of(network, recipe)
    average = _Average(network, recipe.ema_decay) if recipe.ema_decay else None
    done = _resume(path, network, optimizer, average)
    if done.number < recipe.epochs:
        yield done
    steps_per_epoch = len(split) // recipe.batch_size
    for epoch in range(done.number, recipe.epochs):
        generator = torch.Generator().manual_seed(derive(seed, "epoch", epoch))
        network.train()
        right = torch.zeros((), dtype=torch.long, device=device.torch)
        for i, batch in enumerate(split.epoch(recipe.batch_size, generator)):
            set_learning_rate(optimizer, learning_rate(recipe, epoch * steps_per_epoch + i, steps_per_epoch))
            value, hits = _step(network, batch, loss, optimizer, device)
            if not torch.isfinite(value):
                raise BadInput(
                    f"{label}: the loss became {value.item()} in epoch {epoch + 1}",
                    "lower the rate: --set training.learning_rate=...",
                )
            right += hits
            if average:
                average.update(network)
        done = Epoch(epoch + 1, int(right) / (steps_per_epoch * recipe.batch_size))
        if path:
            _save(path, network, optimizer, average, done)
        if done.number < recipe.epochs:
            yield done
    if average:
        average.apply(network)
        generator = torch.Generator().manual_seed(derive(seed, "average"))
        reestimate(network, batch_norms(network), (x for x, _ in split.epoch(recipe.batch_size, generator)), device)
    yield done


def _step(
    network: nn.Module, batch: Batch, loss: Loss, optimizer: torch.optim.Optimizer, device: Device
) -> tuple[Tensor, Tensor]:
    """The loss, and how many were right."""
    x, y = batch[0].to(device.torch), batch[1].to(device.torch)
    optimizer.zero_grad(set_to_none=True)
    with device.autocast():
        logits = network(x)
        value = loss(logits, y)
    value.backward()
    optimizer.step()
    return value.detach(), (logits.detach().argmax(1) == y).sum()


@torch.no_grad()
def accuracy(network: nn.Module, batches: Iterable[Batch], device: Device) -> float:
    """Fraction of images whose largest logit is their label."""
    network.eval()
    right = total = 0
    for x, y in batches:
        with device.autocast():
            predicted = network(x.to(device.torch)).argmax(1).cpu()
        right += int((predicted == y).sum())
        total += len(y)
    return right / total


class _Average:
    """Exponential moving average of the weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 9))  # short memory at first, when weights move fast
        for name, parameter in network.named_parameters():
            self.weights[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def apply(self, network: nn.Module) -> None:
        for name, parameter in network.named_parameters():
            parameter.copy_(self.weights[name])


def _save(path: Path, network: nn.Module, optimizer: torch.optim.SGD, average: _Average | None, done: Epoch) -> None:
    groups = {"model": network.state_dict(), "momentum": checkpoint.momentum_of(optimizer, network)}
    if average:
        groups["average"] = average.weights
    facts = {"epoch": done.number, "training_accuracy": done.training_accuracy}
    checkpoint.save(path, groups, facts | {"average_steps": average.steps if average else 0})


def _resume(path: Path | None, network: nn.Module, optimizer: torch.optim.SGD, average: _Average | None) -> Epoch:
    if path is None or not path.exists():
        return Epoch(0, 0.0)
    groups, facts = checkpoint.load(path)
    network.load_state_dict(groups["model"])
    checkpoint.restore_momentum(optimizer, network, groups.get("momentum", {}))
    if average:
        average.steps = facts["average_steps"]
        device = next(network.parameters()).device
        average.weights = {name: tensor.to(device) for name, tensor in groups["average"].items()}
    return Epoch(facts["epoch"], facts["training_accuracy"])
