"""Training and judging one network: one plain loop, which a looker-on may leave after any epoch."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import exp, log
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.core.errors import BadInput
from hwnas.core.progress import Progress
from hwnas.core.seeds import derive
from hwnas.training import checkpoint
from hwnas.training.averaging import Average, average_of
from hwnas.training.batch_norm import batch_norms, reestimate
from hwnas.training.compute import Device
from hwnas.training.data import Batch, Split
from hwnas.training.distillation import Distillation
from hwnas.training.divergence import Epoch
from hwnas.training.joint_norm import joined, settle
from hwnas.training.ranks import Ranks
from hwnas.training.schedule import clip_gradient, learning_rate, optimizer_of, set_learning_rate
from hwnas.training.settings import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [n, classes], labels [n]) → scalar."""


class Diverged(BadInput):
    """The loss is no longer finite."""


def default_loss(recipe: Recipe) -> Loss:
    return partial(F.cross_entropy, label_smoothing=recipe.label_smoothing)


def score(network: nn.Module, split: Split, device: Device) -> float:
    """By which a search compares networks, 0 to 1: the fraction right; of text 1/perplexity, the geometric mean of the
    probabilities that right words were given. After a short training all networks still guess the same frequent word.
    Several ranks ask together, each a part.
    """
    if split.is_text:
        return 1 / perplexity(network, split.plain(), device)
    right, asked = device.ranks.sums(*answers(network, split.share(device.ranks).plain(), device))
    return right / asked


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
    ranks = device.ranks
    loss, split = loss or default_loss(recipe), split.on(device.torch).share(ranks)
    network.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_of(network, recipe)
    average = average_of(network, recipe)
    done = _resume(path, network, optimizer, average, ranks)
    if done.number < recipe.epochs:
        yield done
    steps_per_epoch = len(split) // recipe.batch_size
    for epoch in range(done.number, recipe.epochs):
        generator = torch.Generator().manual_seed(derive(seed, "epoch", epoch))
        network.train()
        total, asked = torch.zeros((), dtype=torch.float64), 0
        right = torch.zeros((), dtype=torch.long, device=device.torch)
        for i, batch in enumerate(split.epoch(recipe.batch_size, generator)):
            set_learning_rate(optimizer, learning_rate(recipe, epoch * steps_per_epoch + i, steps_per_epoch))
            with joined(network, device.norm_ranks):
                step = _step(network, batch, loss, optimizer, recipe, device, distillation)
            total += step.hard.cpu()
            right += (step.logits.argmax(1) == batch[1].to(device.torch)).sum()
            asked += len(batch[1])
            if not torch.isfinite(step.loss):
                raise Diverged(
                    f"{label}: the loss became {step.loss.item()} in epoch {epoch + 1}",
                    "lower the rate: --set training.learning_rate=...",
                )
            if average:
                average.update(network)
        settle(network, device)
        if average:
            average.epoch_done(network, lambda: _guide_loss(network, split, device))
        if told:
            chance = ranks.mean(loss(torch.zeros_like(step.logits), batch[1].to(device.torch)))
            told(Epoch(epoch, float(total) / steps_per_epoch, float(chance), optimizer.param_groups[0]["lr"]))
        right_of_all, asked_of_all = ranks.sums(int(right), asked)
        done = Done(epoch + 1, right_of_all / asked_of_all)
        ranks.require_agreement(list(network.state_dict().values()))
        if path:
            _save(path, network, optimizer, average, done, ranks)
        if done.number < recipe.epochs:
            yield done
    if average:
        average.apply(network)
        generator = torch.Generator().manual_seed(derive(seed, "average"))
        reestimate(network, batch_norms(network), (x for x, _ in split.epoch(recipe.batch_size, generator)), device)
    yield done


def gradients_of(network: nn.Module) -> list[Tensor]:
    """Of the weights that were used, in their order."""
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


class _Step(NamedTuple):
    """`loss` is what was descended, `hard` its part on the labels, both over all ranks; `logits` [n, classes] are this
    one's."""

    loss: Tensor
    hard: Tensor
    logits: Tensor


def _step(
    network: nn.Module,
    batch: Batch,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
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
    value, hard = value.detach().clone(), hard.detach().clone()
    device.ranks.average([value, hard, *gradients_of(network)])
    clip_gradient(optimizer, recipe)
    optimizer.step()
    return _Step(value, hard, logits.detach())


def _guide_loss(network: nn.Module, split: Split, device: Device) -> float:
    """On the split apart by which text tells when to average."""
    if split.guide is None:
        raise BadInput("training.non_monotone is for text: images have no split apart to judge by", "use ema_decay")
    return log(perplexity(network, split.guide.plain(), device))


def accuracy(network: nn.Module, batches: Iterable[Batch], device: Device) -> float:
    """Fraction of images whose largest logit is their label; of text, of words whose next word it is."""
    right, asked = answers(network, batches, device)
    return right / asked


@torch.no_grad()
def answers(network: nn.Module, batches: Iterable[Batch], device: Device) -> tuple[int, int]:
    """How many are right, and of how many."""
    network.eval()
    right = total = 0
    for x, y in batches:
        with device.autocast():
            predicted = network(x.to(device.torch)).argmax(1)
        right += int((predicted == y.to(device.torch)).sum())
        total += len(y)
    return right, total


@torch.no_grad()
def perplexity(network: nn.Module, batches: Iterable[Batch], device: Device) -> float:
    """exp of the mean cross-entropy: between so many words the network is undecided."""
    network.eval()
    nats, total = 0.0, 0
    for x, y in batches:
        with device.autocast():
            logits = network(x.to(device.torch))
        nats += float(F.cross_entropy(logits.float(), y.to(device.torch), reduction="sum"))
        total += len(y)
    return exp(nats / total)


def _save(
    path: Path, network: nn.Module, optimizer: torch.optim.SGD, average: Average | None, done: Done, ranks: Ranks
) -> None:
    groups = {"model": network.state_dict(), "momentum": checkpoint.momentum_of(optimizer, network)}
    if average:
        groups["average"] = average.weights
    facts = {"epoch": done.number, "training_accuracy": done.training_accuracy}
    ranks.save(path, groups, facts | (average.facts() if average else {}))


def _resume(
    path: Path | None, network: nn.Module, optimizer: torch.optim.SGD, average: Average | None, ranks: Ranks
) -> Done:
    found = ranks.load(path) if path else None
    if found is None:
        return Done(0, 0.0)
    groups, facts = found
    network.load_state_dict(groups["model"])
    checkpoint.restore_momentum(optimizer, network, groups.get("momentum", {}))
    if average:
        average.load(groups["average"], facts)
    return Done(facts["epoch"], facts["training_accuracy"])
