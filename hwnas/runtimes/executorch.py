"""ExecuTorch (https://pytorch.org/executorch) with XNNPACK: PyTorch's own way onto phones and boards, on this CPU."""

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from time import perf_counter_ns

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # type: ignore[import-not-found]
    XnnpackPartitioner,
)
from executorch.exir import to_edge_transform_and_lower  # type: ignore[import-not-found]
from executorch.extension.pybindings._C import (  # type: ignore[import-not-found]
    _unsafe_reset_threadpool,
)
from executorch.runtime import Runtime as Executor  # type: ignore[import-not-found]

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cores, cpu_name
from hwnas.core.target import Target
from hwnas.formats.reader import OnnxGraph
from hwnas.formats.torch_module import to_module
from hwnas.runtimes import Runtime, Session
from hwnas.runtimes._slices import in_slices


class Executorch(Runtime):
    measures = "one Method.execute of the XNNPACK-lowered program, its copies of input and output included"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        _set_threads(target.threads or cores())

    def identity(self) -> Mapping[str, str | int]:
        return {
            "device": cpu_name(),
            "driver": "none",
            "runtime": "executorch",
            "runtime_version": version("executorch"),
            "delegate": "XNNPACK",
        }

    def load(self, model: bytes) -> Session:
        """Seconds: the network is exported and lowered anew, for the target's batch alone."""
        graph = OnnxGraph(model)
        sizes = graph.sizes(self.target.batch)
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # of torch.export, about itself
                exported = torch.export.export(to_module(graph), (torch.zeros(sizes),))
                lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
            return _Program(bytes(lowered.to_executorch().buffer), sizes)
        except RuntimeError as error:
            raise BadInput(f"ExecuTorch refuses the model: {' '.join(str(error).split())[:300]}") from error


_pool: list[int] = []
"""How many threads this process's one pool has, once it is set."""


def _set_threads(count: int) -> None:
    """Before anything is loaded: programs keep pointing to the pool they found. Raises Unavailable later on."""
    if not _pool:
        _unsafe_reset_threadpool(count)
        _pool.append(count)
    if _pool[0] != count:
        raise Unavailable(
            f"ExecuTorch has one thread pool a process, here of {_pool[0]} threads, not {count}",
            "give each number of threads a process of its own",
        )


class _Program(Session):
    def __init__(self, program: bytes, sizes: tuple[int, ...]) -> None:
        self._sizes = sizes
        self._program = Executor.get().load_program(program)
        self._method = self._program.load_method("forward")
        self._x = [torch.from_numpy(np.random.default_rng(0).standard_normal(sizes, dtype=np.float32))]
        self.time_ns()

    def time_ns(self) -> int:
        start = perf_counter_ns()
        self._method.execute(self._x)
        return perf_counter_ns() - start

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        return in_slices(inputs, self._sizes, lambda part: self._method.execute([torch.from_numpy(part)])[0].numpy())
