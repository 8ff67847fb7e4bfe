"""Uniform single paths (SPOS, arXiv:1904.00420, section 3.2): an option an update, each with the same probability."""

import torch
from torch import Tensor

from hwnas.spaces import Gates, Space
from hwnas.training.network import Loss
from hwnas.training.supernet import LossOf


class Uniform:
    """A companion of the supernet's training that searches nothing."""

    def __init__(self, space: Space) -> None:
        self.widths = [len(choice.options) for choice in space.choices]

    @property
    def passes(self) -> int:
        """Paths of one update of the weights."""
        return 1

    def criterion(self, loss: Loss) -> Loss:
        """The loss of one update's paths, called for each in turn."""
        return loss

    def gates(self, generator: torch.Generator) -> Gates:
        options = (int(torch.randint(width, (1,), generator=generator)) for width in self.widths)
        return {choice: {option: None} for choice, option in enumerate(options)}

    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        """Nothing is searched while the weights are trained."""

    def epoch_done(self, epoch: int) -> None: ...

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None: ...
