"""TensorRT (https://docs.nvidia.com/deeplearning/tensorrt) 10 or 11, or TensorRT-RTX: engines on an NVIDIA GPU."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.nvidia import nvidia_gpu
from hwnas.core.target import Target
from hwnas.formats.engine_facts import REBUILD
from hwnas.formats.tensorrt_engine import RTX, build_engine, logger, require_for_this_gpu, trt
from hwnas.runtimes import Runtime, Session
from hwnas.runtimes._cuda import MEASURES, CudaSession


class TensorrtOptions(Settings):
    """`graph`: replay a CUDA graph."""

    graph: bool = True


class Tensorrt(Runtime):
    measures = MEASURES
    precisions = ("fp32", "fp16", "int8")
    int8_form = "s8s8"
    own_format = {"fp32": "tensorrt", "fp16": "tensorrt-fp16", "int8": "tensorrt-int8"}
    Options = TensorrtOptions

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        if not torch.cuda.is_available():
            raise Unavailable(
                f"target '{target.name}' needs an NVIDIA GPU, and torch {torch.__version__} finds none",
                "engines can be built here (hwnas.formats.tensorrt_engine); to time one takes a GPU, its driver and a "
                "CUDA build of torch",
            )
        self.runtime = trt.Runtime(logger())

    def identity(self) -> Mapping[str, str | int]:
        device, driver = nvidia_gpu()
        return {
            "device": device,
            "driver": driver,
            "runtime": "tensorrt-rtx" if RTX else "tensorrt",
            "runtime_version": trt.__version__,
        }

    def load(self, model: bytes) -> Session:
        """An engine for the target's batch alone. Minutes may pass: TensorRT tries its kernels on the GPU."""
        batch = self.target.batch
        return self._open(build_engine(model, (batch, batch, batch)))

    def load_exported(self, *files: bytes) -> Session:
        """An engine, its sidecar, and the ONNX that it was built from."""
        facts = require_for_this_gpu(*files)
        if not facts.batches[0] <= self.target.batch <= facts.batches[2]:
            raise BadInput(f"the engine takes a batch of {facts.batches[0]} to {facts.batches[2]}", REBUILD)
        return self._open(files[0])

    def _open(self, content: bytes) -> Session:
        engine = self.runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise Unavailable(
                f"TensorRT {trt.__version__} cannot run its engine on this GPU: {' '.join(logger().errors[-1:])[:300]}",
                "RTX runs on GeForce and RTX cards alone, others need tensorrt" if RTX else "",
            )
        try:
            return self._session(engine)
        except torch.OutOfMemoryError as error:
            raise BadInput("the model does not fit into the GPU's memory", "a smaller batch") from error

    def _session(self, engine) -> CudaSession:
        context = engine.create_execution_context()
        if context is None:
            raise BadInput("the model does not fit into the GPU's memory", "a smaller batch")
        source, result = (engine.get_tensor_name(i) for i in range(2))
        if engine.get_tensor_mode(source) != trt.TensorIOMode.INPUT:
            source, result = result, source
        shape = (self.target.batch, *tuple(engine.get_tensor_shape(source))[1:])
        context.set_input_shape(source, shape)
        x = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32)).cuda()
        y = torch.empty(tuple(context.get_tensor_shape(result)), device=x.device)
        context.set_tensor_address(source, x.data_ptr())
        context.set_tensor_address(result, y.data_ptr())

        def launch() -> Tensor:
            if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise BadInput(f"TensorRT cannot run the model: {' '.join(logger().errors[-1:])[:300]}")
            return y

        return CudaSession(x, launch, self.options.graph)
