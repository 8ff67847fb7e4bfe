"""ONNX Runtime (https://onnxruntime.ai), by default its CPU execution provider."""

import os
from collections.abc import Mapping
from time import perf_counter_ns

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[attr-defined]

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cpu_name
from hwnas.core.target import Target
from hwnas.runtimes import Runtime, Session

ort.set_default_logger_severity(3)

_REFUSALS = (
    state.Fail,
    state.InvalidProtobuf,
    state.InvalidGraph,
    state.NotImplemented,
    state.InvalidArgument,
    state.RuntimeException,
    RuntimeError,  # what run_with_iobinding raises
)


class Onnxruntime(Runtime):
    measures = "one InferenceSession.run_with_iobinding, input and output buffers on the device"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.provider = target.provider or "CPUExecutionProvider"
        if self.provider not in ort.get_available_providers():
            raise Unavailable(
                f"target '{target.name}' needs onnxruntime's {self.provider}, which this installation lacks",
                f"available: {', '.join(ort.get_available_providers())}",
            )

    def identity(self) -> Mapping[str, str | int]:
        return {
            "device": cpu_name(),
            "driver": "none",
            "runtime": "onnxruntime",
            "runtime_version": ort.__version__,
            "provider": self.provider,
        }

    def load(self, model: bytes) -> Session:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.target.threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        # Warnings about initialisers that optimisation leaves unused say nothing to a user.
        options.log_severity_level = 3
        try:
            return _OrtSession(ort.InferenceSession(model, options, providers=[self.provider]), self.target.batch)
        except _REFUSALS as error:
            raise BadInput(f"onnxruntime refuses the model: {str(error)[:300]}") from error


class _OrtSession(Session):
    def __init__(self, session: ort.InferenceSession, batch: int) -> None:
        self._session = session
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise BadInput("the model must have one float input", "export it with a single image input")
        self._input = inputs[0]
        self._output = session.get_outputs()[0].name
        shape = [batch, *self._input.shape[1:]]
        if not all(isinstance(size, int) for size in shape):
            raise BadInput(f"the model's input shape {self._input.shape} is open beyond the batch")
        x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(self._input.name, ort.OrtValue.ortvalue_from_numpy(x))
        self._session.run_with_iobinding(self._bind_output())

    def _bind_output(self) -> ort.IOBinding:
        self._binding.bind_output(self._output)
        return self._binding

    def time_ns(self) -> int:
        start = perf_counter_ns()
        self._session.run_with_iobinding(self._binding)
        return perf_counter_ns() - start

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self._session.run(None, {self._input.name: inputs})[0])
        except _REFUSALS as error:
            raise BadInput(f"onnxruntime refuses the input: {str(error)[:300]}") from error
