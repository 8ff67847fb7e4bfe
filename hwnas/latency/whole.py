"""The target itself as the latency model: for compilers that price a whole network in milliseconds."""

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.latency.graphs import network_graph
from hwnas.runtimes import Runtime
from hwnas.spaces import Space


class Whole:
    """Prices networks one by one and remembers them. Opens the runtime when first asked; raises Unavailable then."""

    def __init__(self, space: Space, target: Target) -> None:
        self._space, self._target = space, target
        self._runtime: Runtime | None = None
        self._known: dict[Arch, float] = {}

    def predict_many(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → ms [n]."""
        return np.array([self.price(tuple(arch)) for arch in archs.tolist()])

    def price(self, arch: Arch) -> float:
        """Milliseconds."""
        if arch not in self._known:
            self._runtime = self._runtime or open_runtime(self._target)
            session = self._runtime.load(network_graph(self._space, arch, self._runtime))
            try:
                self._known[arch] = session.time_ns() / 1e6
            finally:
                session.close()
        return self._known[arch]
