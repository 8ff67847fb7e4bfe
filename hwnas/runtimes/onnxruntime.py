"""ONNX Runtime (https://onnxruntime.ai), by default its CPU execution provider; on NVIDIA's GPUs CUDA or TensorRT."""

from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[attr-defined]

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cores, cpu_name
from hwnas.core.nvidia import nvidia_gpu
from hwnas.core.target import Precision, Target
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
_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_PRECISIONS: dict[str, tuple[Precision, ...]] = {
    _CPU: ("fp32", "int8"),  # half precision would be cast back and forth
    _CUDA: ("fp32", "fp16"),  # it has no int8 convolution
}


class Onnxruntime(Runtime):
    measures = "one InferenceSession.run_with_iobinding, input and output buffers on the device"
    precisions = ("fp32", "fp16", "int8")

    def __init__(self, target: Target) -> None:
        self.provider = target.provider or _CPU
        self.precisions = _PRECISIONS.get(self.provider, self.precisions)
        super().__init__(target)
        if self.provider not in ort.get_available_providers():
            raise Unavailable(
                f"target '{target.name}' needs onnxruntime's {self.provider}, which this installation lacks",
                f"available: {', '.join(ort.get_available_providers())}",
            )
        self.gpu = nvidia_gpu() if self.provider in (_CUDA, _TENSORRT) else None
        if self.provider == _TENSORRT:
            self.int8_form = "s8s8"

    def identity(self) -> Mapping[str, str | int]:
        device, driver = self.gpu or (cpu_name(), "none")
        return {
            "device": device,
            "driver": driver,
            "runtime": "onnxruntime",
            "runtime_version": ort.__version__,
            "provider": self.provider,
        }

    def load(self, model: bytes) -> Session:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.target.threads or cores()
        options.inter_op_num_threads = 1
        # Warnings about initialisers that optimisation leaves unused say nothing to a user.
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(model, options, providers=self._providers())
            if self.provider not in session.get_providers():  # it falls back to the CPU without an error
                raise Unavailable(
                    f"onnxruntime could not start its {self.provider}",
                    "its libraries are missing: see onnxruntime.ai, 'Execution Providers'",
                )
            return _OrtSession(session, self.target.batch, "cuda" if self.gpu else "cpu")
        except _REFUSALS as error:
            raise BadInput(f"onnxruntime refuses the model: {str(error)[:300]}") from error

    def _providers(self) -> list[str | tuple[str, dict[str, Any]]]:
        cuda = (_CUDA, {"use_tf32": "0"})  # fp32 means fp32: by default its convolutions keep ten bits
        if self.provider != _TENSORRT:
            return [cuda] if self.provider == _CUDA else [self.provider]
        allowed = {
            "trt_fp16_enable": self.target.precision == "fp16",
            "trt_int8_enable": self.target.precision == "int8",
        }
        return [(_TENSORRT, allowed), cuda]  # CUDA takes what TensorRT does not


class _OrtSession(Session):
    def __init__(self, session: ort.InferenceSession, batch: int, device: str) -> None:
        self._session, self._device = session, device
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise BadInput("the model must have one float input", "export it with a single image input")
        self._input = inputs[0]
        shape = [batch, *self._input.shape[1:]]
        if not all(isinstance(size, int) for size in shape):
            raise BadInput(f"the model's input shape {self._input.shape} is open beyond the batch")
        x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(self._input.name, ort.OrtValue.ortvalue_from_numpy(x, device, 0))
        self._binding.bind_output(session.get_outputs()[0].name, device)
        self.time_ns()

    def time_ns(self) -> int:
        start = perf_counter_ns()
        self._session.run_with_iobinding(self._binding)
        if self._device != "cpu":
            self._binding.synchronize_outputs()
        return perf_counter_ns() - start

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self._session.run(None, {self._input.name: inputs})[0])
        except _REFUSALS as error:
            raise BadInput(f"onnxruntime refuses the input: {str(error)[:300]}") from error
