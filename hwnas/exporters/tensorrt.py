"""A TensorRT engine in fp32, by TensorRT on the GPU that is to run it, or by TensorRT-RTX for every RTX card.

The engine is as the library wrote it; a sidecar says what made it, and the ONNX that it was built from lies beside it.
Building starts on any machine with TensorRT-RTX; to run one takes a GPU, so elsewhere it stays unverified.
"""

import contextlib

import numpy as np

from hwnas.core.errors import Unavailable
from hwnas.core.target import Target
from hwnas.exporters import Exporter
from hwnas.formats.engine_facts import require_whole
from hwnas.formats.tensorrt_engine import build_engine, described, require_for_this_gpu

LARGEST_BATCH = 64


class Tensorrt(Exporter):
    filename = "model.engine"
    companions = ("model.engine.json", "model.engine.onnx")
    judge = Target(name="here", runtime="tensorrt")
    tolerance = 1e-4
    needs = "torch and tensorrt, or tensorrt-rtx (`import tensorrt_rtx as trt`)"
    lines = """\
import tensorrt as trt, torch
engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine(open("{filename}", "rb").read())
context = engine.create_execution_context()
source, result = (engine.get_tensor_name(i) for i in range(2))
context.set_input_shape(source, x.shape)
inputs = torch.from_numpy(x).cuda()
outputs = torch.empty(tuple(context.get_tensor_shape(result)), device="cuda")
context.set_tensor_address(source, inputs.data_ptr())
context.set_tensor_address(result, outputs.data_ptr())
context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
logits = outputs.cpu().numpy()
"""

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        """Raises Unavailable where TensorRT finds no GPU to build for."""
        return self.built(model)

    @classmethod
    def require_ours(cls, *files: bytes) -> None:
        require_whole(*files)
        with contextlib.suppress(Unavailable):  # without a GPU, nothing says that the engine is not for this machine
            require_for_this_gpu(*files)

    def recompiled(self, *files: bytes) -> tuple[bytes, ...]:
        return self.built(files[-1])

    def built(self, model: bytes) -> tuple[bytes, ...]:
        """The three files. `model`: ONNX in the precision that the engine is to have."""
        batch = self.target.batch
        batches = (1, batch, max(batch, LARGEST_BATCH))
        engine = build_engine(model, batches)
        return engine, described(engine, model, batches), model
