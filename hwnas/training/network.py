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
from hwnas.training.distillation import Distillation
from hwnas.training.divergence import Epoch
from hwnas.training.schedule import learning_rate, optimizer_of, set_learning_rate
from hwnas.training.settings import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [n, classes], labels [n]) → scalar."""


class Diverged(BadInput):
    """The loss is no longer finite."""


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
    distillation: Distillation | None = None,
    told: Callable[[Epoch], object] | None = None,
) -> nn.Module:
    """Train in place and return the network in eval mode. `path`: the checkpoint, written after every epoch. `told`:
    called before that; what it raises ends the training.

    Raises Diverged.
    """
    epochs = train_by_epoch(network, split, recipe, device, seed, label, path, loss, distillation, told)
    with Progress(label, recipe.epochs, done=next(epochs).number) as progress:
        for _ in epochs:
            progress.advance()
    return network.eval()


class Done(NamedTuple):
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
    distillation: Distillation | None = None,
    told: Callable[[Epoch], object] | None = None,
) -> Iterator[Done]:
    """As `train`, for one who looks on after every epoch and may stop. First what the checkpoint holds is yielded.

    An epoch's batches depend only on the seed and its number, so a run that goes on from the checkpoint ends in the
    same weights. Raises Diverged.
    """
    loss, split = loss or default_loss(recipe), split.on(device.torch)
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
        total = torch.zeros((), dtype=torch.float64)
        right = torch.zeros((), dtype=torch.long, device=device.torch)
        for i, batch in enumerate(split.epoch(recipe.batch_size, generator)):
            set_learning_rate(optimizer, learning_rate(recipe, epoch * steps_per_epoch + i, steps_per_epoch))
            step = _step(network, batch, loss, optimizer, device, distillation)
            total += step.hard.cpu()
            right += (step.logits.argmax(1) == batch[1].to(device.torch)).sum()
            if not torch.isfinite(step.loss):
                raise Diverged(
                    f"{label}: the loss became {step.loss.item()} in epoch {epoch + 1}",
                    "lower the rate: --set training.learning_rate=...",
                )
            if average:
                average.update(network)
        if told:
            chance = loss(torch.zeros_like(step.logits), batch[1].to(device.torch))
            told(Epoch(epoch, float(total) / steps_per_epoch, float(chance), optimizer.param_groups[0]["lr"]))
        done = Done(epoch + 1, int(right) / (steps_per_epoch * recipe.batch_size))
        if path:
            _save(path, network, optimizer, average, done)
        if done.number < recipe.epochs:
            yield done
    if average:
        average.apply(network)
        generator = torch.Generator().manual_seed(derive(seed, "average"))
        reestimate(network, batch_norms(network), (x for x, _ in split.epoch(recipe.batch_size, generator)), device)
    yield done


class _Step(NamedTuple):
    """`loss` is what was descended, `hard` its part on the labels, `logits` [n, classes]."""

    loss: Tensor
    hard: Tensor
    logits: Tensor


def _step(
    network: nn.Module,
    batch: Batch,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    device: Device,
    distillation: Distillation | None,
) -> _Step:
    x, y = batch[0].to(device.torch), batch[1].to(device.torch)
    optimizer.zero_grad(set_to_none=True)
    with device.autocast():
        logits = network(x)
        hard = loss(logits, y)
        value = distillation.loss(hard, logits, x) if distillation else hard
    value.backward()
    optimizer.step()
    return _Step(value.detach(), hard.detach(), logits.detach())


@torch.no_grad()
def accuracy(network: nn.Module, batches: Iterable[Batch], device: Device) -> float:
    """Fraction of images whose largest logit is their label."""
    network.eval()
    right = total = 0
    for x, y in batches:
        with device.autocast():
            predicted = network(x.to(device.torch)).argmax(1)
        right += int((predicted == y.to(device.torch)).sum())
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


def _save(path: Path, network: nn.Module, optimizer: torch.optim.SGD, average: _Average | None, done: Done) -> None:
    groups = {"model": network.state_dict(), "momentum": checkpoint.momentum_of(optimizer, network)}
    if average:
        groups["average"] = average.weights
    facts = {"epoch": done.number, "training_accuracy": done.training_accuracy}
    checkpoint.save(path, groups, facts | {"average_steps": average.steps if average else 0})


def _resume(path: Path | None, network: nn.Module, optimizer: torch.optim.SGD, average: _Average | None) -> Done:
    if path is None or not path.exists():
        return Done(0, 0.0)
    groups, facts = checkpoint.load(path)
    network.load_state_dict(groups["model"])
    checkpoint.restore_momentum(optimizer, network, groups.get("momentum", {}))
    if average:
        average.steps = facts["average_steps"]
        device = next(network.parameters()).device
        average.weights = {name: tensor.to(device) for name, tensor in groups["average"].items()}
    return Done(facts["epoch"], facts["training_accuracy"])
