"""A runtime compiles an ONNX graph for a target and times it there. One file a runtime; it knows no space."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from hwnas.core.plugins import load
from hwnas.core.target import Target


class Session(ABC):
    """One compiled graph, ready to be timed on inputs it holds itself."""

    @abstractmethod
    def time_ns(self) -> int:
        """Run once; the duration in nanoseconds of what `Runtime.measures` says."""

    @abstractmethod
    def infer(self, inputs: np.ndarray) -> np.ndarray:
        """[batch, ...] float32 in, float32 out; the batch may differ from the target's."""

    def close(self) -> None:
        """Release the graph."""


class Runtime(ABC):
    """Raises Unavailable from the constructor when the target's provider is not here."""

    measures: ClassVar[str]
    """What a time includes, in one sentence: stored in every table."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @abstractmethod
    def identity(self) -> Mapping[str, str | int]:
        """What makes two tables comparable: device, driver, runtime and its version."""

    @abstractmethod
    def load(self, model: bytes) -> Session:
        """Compile an ONNX model. Raises BadInput when the runtime refuses it."""


def open_runtime(target: Target) -> Runtime:
    """The runtime that the target's profile names."""
    return load("runtimes", target.runtime)(target)
