"""An exporter writes a trained network in one format: a file, and what belongs beside it. One file an exporter."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from hwnas.core.files import write_atomic
from hwnas.core.target import Precision, Target
from hwnas.formats import Int8Form

DEPLOYED: dict[Precision, str] = {"fp32": "onnx", "fp16": "onnx-fp16", "int8": "onnx-int8"}
"""The exporter whose file a target of this precision runs."""


class Exporter(ABC):
    """Every format is made of the network's fp32 ONNX, so what one refuses is known before any network is trained."""

    filename: ClassVar[str]
    """What the file is called in a bundle."""
    companions: ClassVar[tuple[str, ...]] = ()
    """Files that lie beside it: weights, facts, what it was compiled from."""
    judge: ClassVar[Target] = Target(name="here", runtime="onnxruntime")
    """Runs the files on this machine: whether they compute what the network computes is asked there."""
    tolerance: ClassVar[float]
    """The largest acceptable |difference| of a logit, relative to the largest |logit| where that is above 1."""
    agreement: ClassVar[float | None] = None
    """Where logits are rounded: the least share of samples that keep their answer. One that the network itself rates
    within `tolerance` of its own counts as kept. None: every logit must be within `tolerance`."""
    needs: ClassVar[str]
    """What `lines` needs beside numpy."""
    lines: ClassVar[str]
    """Python for the model card, beside the files: from `x`, float32 [n, channels, height, width], to `logits`."""

    def __init__(self, int8_form: Int8Form = "u8s7", target: Target | None = None, mixed: bool = True) -> None:
        """`int8_form`, `mixed`: what the target's runtime asks for (`hwnas.runtimes.Runtime`)."""
        self.int8_form: Int8Form = int8_form
        self.mixed = mixed
        self.target = self.runs_on(target)

    @classmethod
    def runs_on(cls, target: Target | None) -> Target:
        """Where the files run on this machine: on the target itself, where it is here and meant for this format."""
        ours = (cls.judge.runtime, cls.judge.precision)
        if target is None or target.host or target.device == "imported" or (target.runtime, target.precision) != ours:
            return cls.judge
        return target

    @abstractmethod
    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        """The file and its companions. `model`: ONNX fp32 with a dynamic batch; `samples`: [n, channels, height, width]
        float32, whose ranges int8 keeps.

        Raises BadInput naming what the format cannot hold.
        """

    @classmethod
    def require_ours(cls, *files: bytes) -> None:
        """Without running them: the files belong together, and are for this machine as far as it can be known.

        Raises BadInput.
        """

    def recompiled(self, *files: bytes) -> tuple[bytes, ...]:
        """The same network, compiled anew for this machine where a compiler wrote the first of the files."""
        return files

    def export(self, network: nn.Module, samples: Tensor, path: Path, metadata: dict[str, str]) -> None:
        """`samples`: [n ≥ 2, channels, height, width] float32 training images as the network sees them. Writes `path`
        and its companions beside it, each atomically.

        Raises BadInput for a network that the format cannot hold, StorageFailed.
        """
        from hwnas.exporters.onnx import to_onnx  # an exporter like the others, so it imports this file

        contents = self.convert(to_onnx(network, samples, metadata), samples.contiguous().numpy())
        for name, content in zip((path.name, *self.companions), contents, strict=True):
            write_atomic(path.with_name(name), content)
