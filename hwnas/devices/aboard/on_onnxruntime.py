"""ONNX Runtime aboard: times what hwnas's plug-in of that name times."""

from __future__ import annotations  # devices have older Pythons

import time

import machine  # pyright: ignore[reportMissingImports]
from graphs import Absent, Refused  # pyright: ignore[reportMissingImports]


class Runtime:
    def __init__(self, target: dict) -> None:
        try:
            import onnxruntime as ort
            from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[attr-defined]
        except ImportError as error:
            raise Absent(f"{error}: pip install onnxruntime") from error
        self.ort, self.target = ort, target
        self.provider = target["provider"] or "CPUExecutionProvider"
        if self.provider not in ort.get_available_providers():
            raise Absent(f"onnxruntime has no {self.provider} here")
        ort.set_default_logger_severity(3)
        names = ("Fail", "InvalidProtobuf", "InvalidGraph", "NotImplemented", "InvalidArgument", "RuntimeException")
        self.refusals = (*(getattr(state, name) for name in names), RuntimeError)

    def identity(self) -> dict:
        return {
            "device": machine.cpu_name(),
            "driver": "none",
            "runtime": "onnxruntime",
            "runtime_version": self.ort.__version__,
            "provider": self.provider,
        }

    def load(self, model: bytes) -> Graph:
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.target["threads"] or machine.cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return Graph(self, self.ort.InferenceSession(model, options, providers=[self.provider]))
        except self.refusals as error:
            raise Refused(str(error)) from error


class Graph:
    def __init__(self, runtime: Runtime, session) -> None:
        import numpy as np

        self.runtime, self.session, inputs = runtime, session, session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise Refused("the model must have one float input")
        self.input, shape = inputs[0].name, [runtime.target["batch"], *inputs[0].shape[1:]]
        if not all(isinstance(size, int) for size in shape):
            raise Refused(f"the model's input shape {inputs[0].shape} is open beyond the batch")
        x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self.binding = session.io_binding()
        self.binding.bind_ortvalue_input(self.input, runtime.ort.OrtValue.ortvalue_from_numpy(x))
        self.binding.bind_output(session.get_outputs()[0].name)
        session.run_with_iobinding(self.binding)

    def time_ns(self) -> int:
        start = time.perf_counter_ns()
        self.session.run_with_iobinding(self.binding)
        return time.perf_counter_ns() - start

    def infer(self, shape: list, content: bytes) -> tuple:
        """float32 bytes in; their shape and float32 bytes out."""
        import numpy as np

        try:
            out = self.session.run(None, {self.input: np.frombuffer(content, np.float32).reshape(shape)})[0]
        except self.runtime.refusals as error:
            raise Refused(str(error)) from error
        return list(out.shape), np.ascontiguousarray(out, dtype=np.float32).tobytes()
