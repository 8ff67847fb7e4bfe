"""PyTorch itself (https://pytorch.org), eager: on the CPU, or on an NVIDIA GPU as a CUDA graph."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter_ns

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cores, cpu_name
from hwnas.core.nvidia import nvidia_gpu
from hwnas.core.target import Target
from hwnas.formats.reader import OnnxGraph
from hwnas.formats.torch_module import to_module
from hwnas.runtimes import Runtime, Session
from hwnas.runtimes._cuda import MEASURES, CudaSession
from hwnas.runtimes._slices import check_input


class TorchOptions(Settings):
    """`graph`: on the GPU, replay a CUDA graph. `channels_last`: NHWC in memory."""

    graph: bool = True
    channels_last: bool = False


class Torch(Runtime):
    measures = "one eager forward pass, batch norm folded, input and output in torch's own memory"
    precisions = ("fp32", "fp16")
    Options = TorchOptions

    def __init__(self, target: Target) -> None:
        self.provider = target.provider or "cpu"
        if self.provider not in ("cpu", "cuda"):
            raise BadInput(
                f"target '{target.name}': torch has no provider '{target.provider}'", "provider: cpu or cuda"
            )
        if self.provider == "cpu":
            self.precisions = ("fp32",)  # half precision is there for its results, not for speed
        else:
            self.measures = MEASURES
        super().__init__(target)
        if self.provider == "cuda" and not torch.cuda.is_available():
            raise Unavailable(
                f"target '{target.name}' needs an NVIDIA GPU, and torch {torch.__version__} finds none",
                "install NVIDIA's driver and a CUDA build of torch (pytorch.org), or set provider: cpu",
            )

    def identity(self) -> Mapping[str, str | int]:
        device, driver = nvidia_gpu() if self.provider == "cuda" else (cpu_name(), "none")
        return {
            "device": device,
            "driver": driver,
            "runtime": "torch",
            "runtime_version": torch.__version__,
            "provider": self.provider,
            "cuda": torch.version.cuda or "none",
        }

    def load(self, model: bytes) -> Session:
        options: TorchOptions = self.options
        graph = OnnxGraph(model)
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        network = to_module(graph).to(self.provider, memory_format=layout)  # type: ignore[call-overload]
        noise = np.random.default_rng(0).standard_normal(graph.sizes(self.target.batch), dtype=np.float32)
        x = torch.from_numpy(noise).to(self.provider)
        if x.dim() == 4:
            x = x.contiguous(memory_format=layout)
        try:
            if self.provider == "cuda":
                return CudaSession(x, _launcher(network, x), options.graph)
            return _CpuSession(network, x, self.target.threads or cores())
        except torch.OutOfMemoryError as error:
            raise BadInput("the model does not fit into the GPU's memory", "a smaller batch") from error
        except RuntimeError as error:
            raise BadInput(f"torch refuses the model: {' '.join(str(error).split())[:300]}") from error


def _launcher(network: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """fp32 means fp32: by default convolutions keep ten bits (TF32). cuDNN tries its kernels on each new shape."""
    exact = {"enabled": True, "benchmark": True, "allow_tf32": False, "fp32_precision": "ieee"}

    def launch() -> Tensor:
        with torch.inference_mode(), torch.backends.cudnn.flags(**exact):
            return network(x)

    return launch


class _CpuSession(Session):
    def __init__(self, network: nn.Module, x: Tensor, threads: int) -> None:
        self._network, self._x, self._threads = network, x, threads
        self.time_ns()

    def time_ns(self) -> int:
        with torch.inference_mode(), _threads(self._threads):
            start = perf_counter_ns()
            self._network(self._x)
            return perf_counter_ns() - start

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        check_input(inputs, tuple(self._x.shape))
        with torch.inference_mode(), _threads(self._threads):
            return self._network(torch.from_numpy(inputs)).numpy()


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch has one setting for the whole process, and training has its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
