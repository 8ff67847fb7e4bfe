"""Averages of a network's weights over training: what is shipped in place of the last step's."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hwnas.training.checkpoint import Tensors
from hwnas.training.settings import Recipe


class Average(ABC):
    """`weights`: the average by parameter name. `steps`: how many it holds."""

    def __init__(self, network: nn.Module) -> None:
        self.steps = 0
        self.weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    @abstractmethod
    def update(self, network: nn.Module) -> None:
        """After every step."""

    def epoch_done(self, network: nn.Module, judge: Callable[[], float]) -> None:
        """After every epoch; `judge`: the loss of the network as it is, on data that it does not train on."""

    @torch.no_grad()
    def apply(self, network: nn.Module) -> None:
        for name, parameter in network.named_parameters():
            parameter.copy_(self.weights[name])

    def facts(self) -> dict[str, Any]:
        return {"average_steps": self.steps}

    def load(self, weights: Tensors, facts: dict[str, Any]) -> None:
        self.steps = facts["average_steps"]
        self.weights = {name: tensor.to(self.weights[name].device) for name, tensor in weights.items()}


class Exponential(Average):
    """Over the last ~1/(1 − decay) steps."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 9))  # short memory at first, when weights move fast
        for name, parameter in network.named_parameters():
            self.weights[name].lerp_(parameter, 1 - decay)


class NonMonotone(Average):
    """NT-ASGD (Merity, Keskar & Socher 2018, arXiv:1708.02182, algorithm 1): the mean of all steps since the loss on
    other data was worse than the best of those more than `patience` epochs ago. Until then it is the network itself.

    Deviation: the loss is looked at once an epoch, as in the authors' code.
    """

    def __init__(self, network: nn.Module, patience: int) -> None:
        super().__init__(network)
        self.patience, self.losses, self.averaging = patience, [], False

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.steps = self.steps + 1 if self.averaging else 1
        for name, parameter in network.named_parameters():
            self.weights[name].lerp_(parameter, 1 / self.steps)

    def epoch_done(self, network: nn.Module, judge: Callable[[], float]) -> None:
        if not self.averaging:
            self.losses.append(judge())
            before = self.losses[: -self.patience - 1]
            self.averaging = bool(before) and self.losses[-1] > min(before)

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"losses": self.losses, "averaging": self.averaging}

    def load(self, weights: Tensors, facts: dict[str, Any]) -> None:
        super().load(weights, facts)
        self.losses, self.averaging = list(facts["losses"]), bool(facts["averaging"])


def average_of(network: nn.Module, recipe: Recipe) -> Average | None:
    if recipe.non_monotone is not None:
        return NonMonotone(network, recipe.non_monotone)
    return Exponential(network, recipe.ema_decay) if recipe.ema_decay else None
