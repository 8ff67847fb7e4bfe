"""An exporter writes a trained network as one file of one format. One file an exporter."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from hwnas.core.target import Precision
from hwnas.formats import Int8Form

DEPLOYED: dict[Precision, str] = {"fp32": "onnx", "fp16": "onnx-fp16", "int8": "onnx-int8"}
"""The exporter whose file a target of this precision runs."""


class Exporter(ABC):
    """A format that ONNX Runtime cannot read is checked by its exporter, while it is written."""

    filename: ClassVar[str]
    """What the file is called in a bundle."""
    tolerance: ClassVar[float]
    """The largest acceptable |difference| of a logit, relative to the largest |logit| where that is above 1."""
    agreement: ClassVar[float | None] = None
    """Where logits are rounded: the least share of samples that keep their answer. One that the network itself rates
    within `tolerance` of its own counts as kept. None: every logit must be within `tolerance`."""

    def __init__(self, int8_form: Int8Form = "u8s8") -> None:
        """`int8_form`: the one that the target's runtime asks for."""
        self.int8_form: Int8Form = int8_form

    @abstractmethod
    def export(self, network: nn.Module, samples: Tensor, path: Path, metadata: dict[str, str]) -> None:
        """`samples`: [n ≥ 2, channels, height, width] float32 training images as the network sees them: they show the
        shape, and int8 keeps the ranges that they reach. Writes atomically.

        Raises BadInput for a network that the format cannot hold.
        """
