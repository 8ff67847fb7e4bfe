"""Arm's Ethos-U NPUs, as their compiler estimates them: no device is needed, and none is involved.

Vela knows the NPU's cycles from its schedule and its model of the memories. The clock that makes milliseconds of them
is the `core_clock` of the system configuration, in the configuration file.
"""

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from typing import Literal

import numpy as np

from hwnas.core.config import Settings
from hwnas.core.target import Target
from hwnas.formats.tflite import from_onnx
from hwnas.formats.tflite.interpreter import Tflite
from hwnas.runtimes import Runtime, Session
from hwnas.runtimes._vela import System


class EthosUOptions(Settings):
    """Empty names mean Vela's defaults. `ini`: a configuration file of your own, for your system's clock and memories;
    with it, name `system_config` and `memory_mode` too."""

    accelerator: Literal[
        "ethos-u55-32",
        "ethos-u55-64",
        "ethos-u55-128",
        "ethos-u55-256",
        "ethos-u65-256",
        "ethos-u65-512",
        "ethos-u85-128",
        "ethos-u85-256",
        "ethos-u85-512",
        "ethos-u85-1024",
        "ethos-u85-2048",
    ] = "ethos-u55-128"
    system_config: str = ""
    memory_mode: str = ""
    ini: str = ""


class EthosU(Runtime):
    measures = (
        "estimate of Arm's Vela compiler for one inference on the NPU: its total cycles over the clock of the system "
        "configuration, no device involved"
    )
    estimate = True
    precisions = ("int8",)
    int8_form = "u8s8"
    Options = EthosUOptions
    incidental = frozenset(EthosUOptions.model_fields)
    """What they resolve to is in `identity`."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        o: EthosUOptions = self.options
        self.system = System.of(o.accelerator, o.system_config, o.memory_mode, o.ini)

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
        tflite = from_onnx(model, self.target.batch)
        return _Estimate(tflite, self.system.cycles(tflite), self.system.clock_hz)


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
