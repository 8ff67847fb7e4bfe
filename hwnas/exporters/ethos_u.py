"""TFLite for Arm's Ethos-U NPUs, compiled by Vela: one operator that holds the NPU's commands.

Beside it lies the int8 TFLite file that it was made of: what computes on any CPU, and what another Vela, or a Vela for
another NPU, compiles again.
"""

import numpy as np

from hwnas.core.config import validate
from hwnas.core.target import Target
from hwnas.exporters import Exporter
from hwnas.exporters.litert_int8 import LitertInt8
from hwnas.formats.vela import System, VelaOptions


class EthosU(Exporter):
    filename, companions = "model.vela.tflite", ("model.vela.source.tflite",)
    judge = Target(name="here", runtime="ethos-u", precision="int8")
    tolerance = LitertInt8.tolerance
    agreement = LitertInt8.agreement
    needs = LitertInt8.needs
    lines = (
        "# {filename} is for the NPU: TensorFlow Lite Micro runs it, with the Ethos-U kernel registered\n"
        "# (xxd -i {filename} makes it C). This runs what it was made of, bit for bit the same answers, on a CPU:\n"
    ) + LitertInt8.lines.replace("{filename}", companions[0])

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        """Raises BadInput when any operator would not run on the NPU."""
        (source,) = LitertInt8(target=self.target).convert(model, samples)
        return self.compiled(source)

    def recompiled(self, *files: bytes) -> tuple[bytes, ...]:
        return self.compiled(files[-1])

    def compiled(self, source: bytes) -> tuple[bytes, ...]:
        """Both files. `source`: int8 TFLite."""
        options = validate(VelaOptions, self.target.options, "the options of the target")
        return System.of(options).compile(source).model, source
