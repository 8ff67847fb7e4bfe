"""LiteRT, once TensorFlow Lite (https://ai.google.dev/edge/litert), on the CPU with XNNPACK: what runs on phones."""

from collections.abc import Mapping
from importlib.metadata import version
from time import perf_counter_ns

import numpy as np

from hwnas.core.machine import cores, cpu_name
from hwnas.formats.tflite import from_onnx
from hwnas.formats.tflite.interpreter import Tflite
from hwnas.runtimes import Runtime, Session


class Litert(Runtime):
    measures = "one Interpreter.invoke with XNNPACK, input and output in its buffers, in the model's own type"
    precisions = ("fp32", "int8")
    mixed = False
    int8_form = "u8s8"  # asymmetric: LiteRT's own int8, moved by 128 while converting
    own_format = {"fp32": "litert", "int8": "litert-int8"}

    def identity(self) -> Mapping[str, str | int]:
        return {
            "device": cpu_name(),
            "driver": "none",
            "runtime": "litert",
            "runtime_version": version("ai-edge-litert"),
            "delegate": "XNNPACK",
        }

    def load(self, model: bytes) -> Session:
        return self.load_exported(from_onnx(model, self.target.batch))

    def load_exported(self, *files: bytes) -> Session:
        (model,) = files
        return _LitertSession(Tflite(model, self.target.threads or cores()))


class _LitertSession(Session):
    def __init__(self, model: Tflite) -> None:
        self._model = model

    def time_ns(self) -> int:
        start = perf_counter_ns()
        self._model.invoke()
        return perf_counter_ns() - start

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        return self._model.infer(inputs)
