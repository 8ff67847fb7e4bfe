"""LiteRT aboard: times what hwnas's plug-in of that name times. Its models are TFLite files, written by the host."""

from __future__ import annotations  # devices have older Pythons

import time

import machine  # pyright: ignore[reportMissingImports]
from graphs import Absent, Refused  # pyright: ignore[reportMissingImports]


class Runtime:
    def __init__(self, target: dict) -> None:
        try:
            from importlib.metadata import version

            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise Absent(f"{error}: pip install ai-edge-litert") from error
        self.interpreter, self.version = Interpreter, version("ai-edge-litert")
        self.threads = target["threads"] or machine.cores()

    def identity(self) -> dict:
        return {
            "device": machine.cpu_name(),
            "driver": "none",
            "runtime": "litert",
            "runtime_version": self.version,
            "delegate": "XNNPACK",
        }

    def load(self, model: bytes) -> Graph:
        return Graph(self, model)

    def compile(self, model: bytes):
        try:
            interpreter = self.interpreter(model_content=model, num_threads=self.threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise Refused(str(error)) from error
        return interpreter


class Graph:
    def __init__(self, runtime: Runtime, model: bytes) -> None:
        import numpy as np

        self.runtime, self.model, self.timed = runtime, model, runtime.compile(model)
        (source,) = self.timed.get_input_details()
        noise = np.random.default_rng(0).standard_normal(source["shape"], dtype=np.float32)
        self.timed.set_tensor(source["index"], stored(noise, source))
        self.timed.invoke()

    def time_ns(self) -> int:
        start = time.perf_counter_ns()
        self.timed.invoke()
        return time.perf_counter_ns() - start

    def infer(self, shape: list, content: bytes) -> tuple:
        """float32 bytes in, channels first; their shape and float32 bytes out."""
        import numpy as np

        images = np.frombuffer(content, np.float32).reshape(shape)
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1) if images.ndim == 4 else images)
        interpreter = self.runtime.compile(self.model)  # another one: the timed one keeps its batch
        (source,) = interpreter.get_input_details()
        if images.shape[1:] != tuple(source["shape"][1:]):
            raise Refused(f"the model takes {tuple(source['shape'])}, channels last, not {images.shape}")
        interpreter.resize_tensor_input(source["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], stored(images, source))
        interpreter.invoke()
        (result,) = interpreter.get_output_details()
        out = real(interpreter.get_tensor(result["index"]), result)
        out = out.transpose(0, 3, 1, 2) if out.ndim == 4 else out
        return list(out.shape), np.ascontiguousarray(out, dtype=np.float32).tobytes()


def stored(values, tensor: dict):
    """In the tensor's own type."""
    import numpy as np

    if tensor["dtype"] == np.float32:
        return values
    scale, zero = tensor["quantization"]
    return np.clip(np.rint(values / scale) + zero, -128, 127).astype(np.int8)


def real(values, tensor: dict):
    import numpy as np

    if tensor["dtype"] == np.float32:
        return values
    scale, zero = tensor["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale)
