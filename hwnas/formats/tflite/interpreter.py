"""A TFLite file on this machine's CPU: LiteRT with XNNPACK."""

from functools import cached_property

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from hwnas.core.errors import BadInput


class Tflite:
    """Of a file that `from_onnx` wrote: LiteRT aborts the process on some that nobody checked. Raises BadInput."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        self._model, self._threads = model, threads
        self._ready = self._interpreter()
        (source,) = self._ready.get_input_details()
        noise = np.random.default_rng(0).standard_normal(source["shape"], dtype=np.float32)
        self._ready.set_tensor(source["index"], _stored(noise, source))
        _invoke(self._ready)

    def invoke(self) -> None:
        """One run at the file's own batch, on an input it holds itself."""
        self._ready.invoke()

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        """As ONNX has them, [batch, channels, height, width] float32 in and float32 out; any batch."""
        interpreter = self._resized
        (source,) = interpreter.get_input_details()
        images = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1) if inputs.ndim == 4 else inputs)
        wanted = tuple(source["shape"][1:].tolist())
        if images.shape[1:] != wanted or images.dtype != np.float32:
            raise BadInput(f"the model takes images of {wanted}, channels last, not {images.dtype} {images.shape[1:]}")
        if images.shape != tuple(source["shape"]):
            interpreter.resize_tensor_input(source["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], _stored(images, source))
        _invoke(interpreter)
        (result,) = interpreter.get_output_details()
        values = _real(interpreter.get_tensor(result["index"]), result)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if values.ndim == 4 else values)

    @cached_property
    def _resized(self) -> Interpreter:
        """Another one, so that a batch of another size leaves the timed one as it is."""
        return self._interpreter()

    def _interpreter(self) -> Interpreter:
        try:
            interpreter = Interpreter(model_content=self._model, num_threads=self._threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BadInput(f"LiteRT refuses the model: {' '.join(str(error).split())[:300]}") from error
        return interpreter


def _invoke(interpreter: Interpreter) -> None:
    try:
        interpreter.invoke()
    except RuntimeError as error:
        raise BadInput(f"LiteRT cannot run the model: {' '.join(str(error).split())[:300]}") from error


def _stored(real: np.ndarray, tensor: dict) -> np.ndarray:
    """In the tensor's own type."""
    if tensor["dtype"] == np.float32:
        return real
    scale, zero = tensor["quantization"]
    return np.clip(np.rint(real / scale) + zero, -128, 127).astype(np.int8)


def _real(stored: np.ndarray, tensor: dict) -> np.ndarray:
    if tensor["dtype"] == np.float32:
        return stored
    scale, zero = tensor["quantization"]
    return ((stored.astype(np.float32) - zero) * np.float32(scale)).astype(np.float32)
