"""An exporter writes a trained network as one file of one format. One file an exporter."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn


class Exporter(ABC):
    """`filename`: what the file is called in a bundle. `tolerance`: the largest acceptable |difference| of logits."""

    filename: ClassVar[str]
    tolerance: ClassVar[float]

    @abstractmethod
    def export(self, network: nn.Module, samples: Tensor, path: Path, metadata: dict[str, str]) -> None:
        """`samples`: [n, channels, height, width] float32 inputs as the network sees them. Writes atomically.

        Raises BadInput for a network that the format cannot hold.
        """
