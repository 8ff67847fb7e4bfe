"""How latency enters a gradient search's loss: each term takes cross-entropy and E[latency], both differentiable."""

from math import log
from typing import Literal

import torch
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput


class LatencyTermSettings(Settings):
    """`multiplier`: CE + μ·(E/T − 1), μ learned so that E reaches the target T, nothing to tune.
    `paper`: CE + λ·E/T (ProxylessNAS eq. 8, λ = `strength`, E in units of the target).
    `mul-log`: 0.2·CE·(log E / log T)^β (the authors' code, β = `strength`), logs of microseconds.
    """

    kind: Literal["multiplier", "paper", "mul-log"] = "multiplier"
    strength: float = 0.3
    rate: float = 0.05
    """Of the multiplier's ascent."""
    damping: float = 2.0
    """The multiplier's immediate response to the violation, beside its memory of it; without it E swings."""


class LatencyTerm:
    """`target_ms`: the largest acceptable prediction. Raises BadInput where mul-log is not defined."""

    def __init__(self, settings: LatencyTermSettings, target_ms: float) -> None:
        self.settings, self.target_ms = settings, target_ms
        self.memory = 0.0
        self.multiplier = 0.0
        if settings.kind == "mul-log" and target_ms <= 1e-3:
            raise BadInput("the mul-log latency term needs a target above 1 µs", "use the multiplier")

    def loss(self, cross_entropy: Tensor, expected_ms: Tensor) -> Tensor:
        ratio = expected_ms / self.target_ms
        match self.settings.kind:
            case "multiplier":
                return cross_entropy + self.multiplier * (ratio - 1)
            case "paper":
                return cross_entropy + self.settings.strength * ratio
            case "mul-log":
                # Microseconds: around 1 ms a log of milliseconds turns negative, and its power NaN.
                logs = torch.log(expected_ms.clamp_min(1.001e-3) * 1e3) / log(self.target_ms * 1e3)
                return 0.2 * cross_entropy * logs**self.settings.strength

    def observe(self, expected_ms: float) -> None:
        """Dual ascent on the multiplier, once an architecture step: E over the full distribution."""
        excess = expected_ms / self.target_ms - 1
        self.memory = max(0.0, self.memory + self.settings.rate * excess)
        self.multiplier = max(0.0, self.memory + self.settings.damping * excess)
