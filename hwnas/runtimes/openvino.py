"""OpenVINO (https://docs.openvino.ai) on the CPU, Intel's or AMD's, or on the device that `provider` names."""

import io
from collections.abc import Callable, Mapping
from functools import cached_property
from time import perf_counter_ns

import numpy as np
import openvino as ov

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cores, cpu_name
from hwnas.core.target import Target
from hwnas.formats.openvino_ir import core
from hwnas.runtimes import Runtime, Session


class Openvino(Runtime):
    measures = "one synchronous InferRequest.infer, input and output buffers bound before"
    precisions = ("fp32", "int8")
    own_format = {"fp32": "openvino", "int8": "openvino-int8"}

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.core = core()
        self.device = target.provider or "CPU"
        available = self.core.available_devices
        if self.device not in available:
            raise Unavailable(
                f"target '{target.name}' needs OpenVINO's {self.device}, which is not here",
                f"provider: one of {', '.join(available)}",
            )

    def identity(self) -> Mapping[str, str | int]:
        name = cpu_name() if self.device == "CPU" else str(self.core.get_property(self.device, "FULL_DEVICE_NAME"))
        return {
            "device": name,
            "driver": "none",
            "runtime": "openvino",
            "runtime_version": ov.get_version(),
            "provider": self.device,
        }

    def load(self, model: bytes) -> Session:
        return self._session(lambda: self.core.read_model(io.BytesIO(model)))

    def load_exported(self, *files: bytes) -> Session:
        """A graph and its weights, in OpenVINO's own format."""
        graph, weights = files
        return self._session(lambda: self.core.read_model(graph, weights))

    def _session(self, read: Callable[[], ov.Model]) -> Session:
        try:
            return _OvSession(self, read())
        except RuntimeError as error:
            raise BadInput(f"openvino refuses the model: {' '.join(str(error).split())[-300:]}") from error

    def compile(self, model: ov.Model) -> ov.InferRequest:
        # Without the hint, CPUs that can would compute fp32 networks in bfloat16, and say nothing.
        settings: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if self.device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = self.target.threads or cores()
        return self.core.compile_model(model, self.device, settings).create_infer_request()


class _OvSession(Session):
    """Timed with the batch fixed; answers at any batch, compiled once more for that when first asked."""

    def __init__(self, runtime: Openvino, model: ov.Model) -> None:
        self._runtime, self._model = runtime, model
        inputs = self._model.inputs
        if len(inputs) != 1 or inputs[0].get_element_type() != ov.Type.f32:
            raise BadInput("the model must have one float input", "export it with a single image input")
        shape = inputs[0].get_partial_shape()
        if any(size.is_dynamic for size in list(shape)[1:]):
            raise BadInput(f"the model's input shape {shape} is open beyond the batch")
        sizes = [runtime.target.batch, *(size.get_length() for size in list(shape)[1:])]
        fixed = self._model.clone()
        fixed.reshape(sizes)
        self._request = runtime.compile(fixed)
        x = np.random.default_rng(0).standard_normal(sizes, dtype=np.float32)
        self._request.set_input_tensor(ov.Tensor(x))
        self._request.infer()

    @cached_property
    def _any_batch(self) -> ov.InferRequest:
        return self._runtime.compile(self._model)

    def time_ns(self) -> int:
        start = perf_counter_ns()
        self._request.infer()
        return perf_counter_ns() - start

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        try:
            return self._any_batch.infer([np.ascontiguousarray(inputs)])[0].copy()
        except RuntimeError as error:
            raise BadInput(f"openvino refuses the input: {' '.join(str(error).split())[-300:]}") from error
