"""How networks are trained. Every number can be set with `--set training.x=` or `--set search.x=`."""

from typing import Literal

from pydantic import Field

from hwnas.core.config import Settings


class Recipe(Settings):
    """SGD with Nesterov momentum and a cosine schedule (the recipe of ProxylessNAS and its relatives)."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    """Linear from zero: a fresh network at the full rate may diverge."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """0.1 in ProxylessNAS; keeps small networks from over-confidence."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Average the weights over the last ~1/(1−decay) steps; smooths the end of short trainings."""
    non_monotone: int | None = Field(default=None, ge=0)
    """For text, in place of `ema_decay`: NT-ASGD with this patience in epochs (arXiv:1708.02182, where it is 5)."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up. NT-ASGD wants a constant rate."""
    clip: float | None = Field(default=None, gt=0)
    """The largest norm of the gradient of all weights together (recurrent networks: 0.25)."""


class Compute(Settings):
    """Where training runs. `threads` 0 means all cores; results are equal only for equal threads."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=0, ge=0)
    bf16: bool = False
    batch_norm: Literal["together", "apart"] = "together"
    """Of several ranks: over the whole batch, so that they compute what one computes, or over each rank's slice, which
    takes no messages."""
