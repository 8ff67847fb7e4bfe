"""OpenVINO aboard: times what hwnas's plug-in of that name times."""

from __future__ import annotations  # devices have older Pythons

import io
import time

import machine  # pyright: ignore[reportMissingImports]
from graphs import Absent, Refused  # pyright: ignore[reportMissingImports]


class Runtime:
    def __init__(self, target: dict) -> None:
        try:
            import openvino as ov
        except ImportError as error:
            raise Absent(f"{error}: pip install openvino") from error
        self.ov, self.core, self.target, self.device = ov, ov.Core(), target, target["provider"] or "CPU"
        if self.device not in self.core.available_devices:
            raise Absent(f"OpenVINO has no {self.device} here")

    def identity(self) -> dict:
        cpu = self.device == "CPU"
        return {
            "device": machine.cpu_name() if cpu else str(self.core.get_property(self.device, "FULL_DEVICE_NAME")),
            "driver": "none",
            "runtime": "openvino",
            "runtime_version": self.ov.get_version(),
            "provider": self.device,
        }

    def load(self, model: bytes) -> Graph:
        try:
            return Graph(self, self.core.read_model(io.BytesIO(model)))
        except RuntimeError as error:
            raise Refused(str(error)[-300:]) from error

    def compile(self, model):
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}  # else bfloat16, unsaid
        if self.device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = self.target["threads"] or machine.cores()
        return self.core.compile_model(model, self.device, settings).create_infer_request()


class Graph:
    def __init__(self, runtime: Runtime, model) -> None:
        import numpy as np

        self.runtime, self.model, self.any_batch = runtime, model, None
        if len(model.inputs) != 1 or model.inputs[0].get_element_type() != runtime.ov.Type.f32:
            raise Refused("the model must have one float input")
        shape = list(model.inputs[0].get_partial_shape())[1:]
        if any(size.is_dynamic for size in shape):
            raise Refused("the model's input shape is open beyond the batch")
        sizes = [runtime.target["batch"], *(size.get_length() for size in shape)]
        fixed = model.clone()
        fixed.reshape(sizes)
        self.request = runtime.compile(fixed)
        x = np.random.default_rng(0).standard_normal(sizes, dtype=np.float32)
        self.request.set_input_tensor(runtime.ov.Tensor(x))
        self.request.infer()

    def time_ns(self) -> int:
        start = time.perf_counter_ns()
        self.request.infer()
        return time.perf_counter_ns() - start

    def infer(self, shape: list, content: bytes) -> tuple:
        """float32 bytes in; their shape and float32 bytes out."""
        import numpy as np

        try:
            self.any_batch = self.any_batch or self.runtime.compile(self.model)
            out = self.any_batch.infer([np.frombuffer(content, np.float32).reshape(shape)])[0]
        except RuntimeError as error:
            raise Refused(str(error)[-300:]) from error
        return list(out.shape), np.ascontiguousarray(out, dtype=np.float32).tobytes()
