"""Arm's Ethos-U NPUs, as their compiler estimates them: no device is needed, and none is involved.

Vela knows the NPU's cycles from its schedule and its model of the memories. The clock that makes milliseconds of them
is the `core_clock` of the system configuration, in the configuration file.
"""

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version

import numpy as np

from hwnas.core.errors import BadInput
from hwnas.core.target import Target
from hwnas.formats.tflite import from_onnx
from hwnas.formats.tflite.interpreter import Tflite
from hwnas.formats.vela import System, VelaOptions
from hwnas.runtimes import Runtime, Session


class EthosU(Runtime):
    measures = (
        "estimate of Arm's Vela compiler for one inference on the NPU: its total cycles over the clock of the system "
        "configuration, no device involved"
    )
    estimate = True
    precisions = ("int8",)
    int8_form = "u8s8"
    own_format = {"int8": "ethos-u"}
    mixed = False
    Options = VelaOptions
    incidental = frozenset(VelaOptions.model_fields)
    """What they resolve to is in `identity`."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.system = System.of(self.options)

    def identity(self) -> Mapping[str, str | int]:
        system = self.system
        return {
            "device": system.accelerator,
            "driver": "none",
            "runtime": "ethos-u-vela",
            "runtime_version": version("ethos-u-vela"),
            "system_config": system.system_config,
            "memory_mode": system.memory_mode,
            "clock_hz": round(system.clock_hz),
            "configuration_sha256": system.digest,
        }

    def state(self) -> Mapping[str, str | int | float]:
        """None: whatever this machine does, the estimate is the same."""
        return {}

    def load(self, model: bytes) -> Session:
        """Raises BadInput when any operator would not run on the NPU."""
        return self._estimate(from_onnx(model, self.target.batch))

    def load_exported(self, *files: bytes) -> Session:
        """What Vela made, and the TFLite file that it made it of. The NPU's commands run on no CPU, so the first must
        be what this Vela makes of the second, and the second answers. Raises BadInput when it is not.
        """
        model, source = files
        if self.system.compile(source).model != model:
            raise BadInput(
                f"the file is not what Vela {version('ethos-u-vela')} makes for the {self.system.accelerator}",
                "it was made by another version, or for another NPU: hwnas rebuild BUNDLE",
            )
        return self._estimate(source)

    def _estimate(self, tflite: bytes) -> Session:
        return _Estimate(tflite, self.system.compile(tflite).cycles, self.system.clock_hz)


class _Estimate(Session):
    """`cycles` at `clock_hz`. Outputs are computed on this machine's CPU, from the same file."""

    def __init__(self, model: bytes, cycles: int, clock_hz: float) -> None:
        self._model = model
        self._ns = max(1, round(cycles / clock_hz * 1e9))

    def time_ns(self) -> int:
        return self._ns

    def turn_ns(self, warmup_runs: int, least_ns: int, least_samples: int) -> list[int]:
        """One sample: all are the same."""
        return [self._ns]

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        return self._on_cpu.infer(inputs)

    @cached_property
    def _on_cpu(self) -> Tflite:
        return Tflite(self._model)
