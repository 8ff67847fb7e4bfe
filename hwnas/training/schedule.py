"""The optimizer and its learning rate."""

from math import cos, pi

import torch
from torch import nn

from hwnas.training.settings import Recipe


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Weight decay spares batch norm and biases, which it would only shrink towards nothing."""
    decayed = [p for p in network.parameters() if p.dim() > 1]
    spared = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then half a cosine down to zero, or as it is."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    total = recipe.epochs * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * 0.5 * (1 + cos(pi * (step - warmup) / max(1.0, total - warmup)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradient(optimizer: torch.optim.Optimizer, recipe: Recipe) -> None:
    """Before the step, where the recipe asks for it."""
    if recipe.clip is not None:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], recipe.clip)
