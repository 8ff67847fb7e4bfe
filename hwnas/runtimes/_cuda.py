"""Timing on an NVIDIA GPU, by CUDA events.

With a graph, the two events are nodes of it, around the network's kernels: the GPU runs from one to the other without
the CPU. Without one the CPU launches kernel after kernel between them, and where it is the slower of the two, its time
is what is measured.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from hwnas.runtimes import Session
from hwnas.runtimes._slices import in_slices

MEASURES = (
    "GPU time between two CUDA events, input and output on the GPU: around the network's kernels in one replay of its "
    "CUDA graph (option graph=false: around one launch by the CPU, whose pauses count)"
)
_WARM_RUNS = 3
"""Before capturing, as torch asks: libraries choose their kernels and take their workspaces then."""


class CudaSession(Session):
    """`launch` puts one inference on the current stream, from `x`; it gives the output, the same tensor each time where
    it can. `x`: [batch, ...] float32 on the GPU."""

    def __init__(self, x: Tensor, launch: Callable[[], Tensor], graph: bool) -> None:
        self._x, self._launch = x, launch
        self._start, self._end = (torch.cuda.Event(enable_timing=True, external=graph) for _ in range(2))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_RUNS):
                self._y = launch()
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph() if graph else None
        if self._graph:
            with torch.cuda.graph(self._graph, pool=_memory().id):  # type: ignore[arg-type]
                self._between_events()
        self._run()

    def _between_events(self) -> None:
        self._start.record()
        self._y = self._launch()
        self._end.record()

    def _run(self) -> None:
        if self._graph:
            self._graph.replay()
        else:
            self._between_events()
        torch.cuda.current_stream().synchronize()

    def time_ns(self) -> int:
        self._run()
        return round(self._start.elapsed_time(self._end) * 1e6)

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        """In slices of the target's batch, so that it is the timed graph that answers."""

        def run(part: np.ndarray) -> np.ndarray:
            self._x.copy_(torch.from_numpy(part))
            self._run()
            return self._y.cpu().numpy()

        return in_slices(inputs, tuple(self._x.shape), run)

    def close(self) -> None:
        if self._graph:
            self._graph.reset()


@cache
def _memory() -> torch.cuda.MemPool:
    """One pool for all graphs: they never run at the same time, and a profile holds two hundred. It is held here: one
    that only graphs hold is gone when the last of them is, and its name with it."""
    return torch.cuda.MemPool()
