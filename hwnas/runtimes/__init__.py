"""A runtime compiles an ONNX graph for a target and times it there. One file a runtime; it knows no space."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hwnas.core.config import NoSettings, Settings, validate
from hwnas.core.errors import Unavailable
from hwnas.core.machine import state
from hwnas.core.target import Precision, Target
from hwnas.formats import Int8Form


class Session(ABC):
    """One compiled graph, ready to be timed on inputs it holds itself."""

    @abstractmethod
    def time_ns(self) -> int:
        """Run once; the duration in nanoseconds of what `Runtime.measures` says."""

    @abstractmethod
    def infer(self, inputs: np.ndarray) -> np.ndarray:
        """[batch, ...] float32 in, float32 out; the batch may differ from the target's."""

    def turn_ns(self, warmup_runs: int, least_ns: int, least_samples: int) -> list[int]:
        """One visit: warm up, then run until both `least_ns` and `least_samples` are reached."""
        for _ in range(warmup_runs):
            self.time_ns()
        samples, spent = [], 0
        while spent < least_ns or len(samples) < least_samples:
            samples.append(self.time_ns())
            spent += samples[-1]
        return samples

    def close(self) -> None:
        """Release the graph."""


class Runtime(ABC):
    """Raises Unavailable from the constructor when the target's provider is not here, BadInput for wrong options."""

    measures: str
    """What a time includes, in one sentence: stored in every table. An object may say another, as its provider does."""
    estimate: ClassVar[bool] = False
    """True where a time is a compiler's estimate: it is called that everywhere, and never measured."""
    precisions: tuple[Precision, ...] = ("fp32",)
    """All that it runs; an object may run fewer, as its provider does."""
    int8_form: Int8Form = "u8s7"
    """The form of int8 that is fast and right there; only where `precisions` holds int8."""
    own_format: Mapping[Precision, str] = {}
    """By precision, the exporter of its own file format: in every bundle for it, beside ONNX."""
    mixed: bool = True
    """Whether an int8 network may hold layers in float."""
    Options: ClassVar[type[Settings]] = NoSettings
    """What a profile may say under `options`."""
    incidental: ClassVar[frozenset[str]] = frozenset()
    """Options that change no latency (a timeout, a path): no part of a table's identity."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.options: Any = validate(self.Options, target.options, f"the options of target '{target.name}'")
        if target.precision not in self.precisions:
            raise Unavailable(
                f"target '{target.name}' asks {target.runtime} for {target.precision}, which it does not run",
                f"precision: one of {', '.join(self.precisions)}",
            )

    @abstractmethod
    def identity(self) -> Mapping[str, str | int]:
        """What makes two tables comparable: device, driver, runtime and its version."""

    def state(self) -> Mapping[str, str | int | float]:
        """The device's state now, recorded beside a measurement: governor, load, temperature, battery."""
        return state()

    @abstractmethod
    def load(self, model: bytes) -> Session:
        """Compile an ONNX model, already in the target's precision. Raises BadInput when the runtime refuses it."""

    def load_exported(self, *files: bytes) -> Session:
        """The files that an exporter wrote for this runtime, `filename` first. Raises BadInput when it refuses them,
        or when they are for another device."""
        return self.load(files[0])
