"""A runtime of this machine in a process of its own.

What a process timed and freed before moves the times of what it loads next, by up to a tenth
(`benchmarks/placement.py`), so each measuring run gets a new one. And some libraries abort on files that nobody
checked: then it ends, not we.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate, count
from time import monotonic
from typing import Any, Protocol

import numpy as np

from hwnas.core.errors import BadInput, HwnasError, Unavailable
from hwnas.core.plugins import load
from hwnas.core.target import Target
from hwnas.devices.link import Fault, Link, Lost, Nothing, Outputs, Reply, Samples
from hwnas.runtimes import Runtime, Session

_SECONDS = 1800
"""No request takes longer."""


class Loader(Protocol):
    """What a measuring run needs of a runtime."""

    def load(self, model: bytes) -> Session:
        """As `Runtime.load`."""
        ...


@contextmanager
def fresh(runtime: Runtime) -> Iterator[Loader]:
    """The same runtime in a new process; itself where nothing is timed here: elsewhere, or a compiler's estimate."""
    elsewhere = bool(runtime.target.host) or runtime.target.device != "local"
    if elsewhere or runtime.estimate or type(runtime) is not load("runtimes", runtime.target.runtime):
        yield runtime
        return
    apart = Apart(runtime.target)
    try:
        yield apart
    finally:
        apart.close()


class Apart:
    """`load` and `load_exported` raise what the runtime's do, and BadInput when a model ends the process."""

    def __init__(self, target: Target) -> None:
        command = [sys.executable, "-m", "hwnas.devices.serving", target.model_dump_json()]
        self._name, self._keys = target.runtime, count()
        self._link = _OwnLink(target.runtime, command, b"")

    def load(self, model: bytes) -> Session:
        return self._session("load", model)

    def load_exported(self, *files: bytes) -> Session:
        return self._session("load_exported", b"".join(files), ends=list(accumulate(map(len, files))))

    def ask(self, reply: type[Reply], do: str, payload: bytes = b"", **fields: Any) -> Reply:
        try:
            return self._link.ask(reply, monotonic() + _SECONDS, do, payload, **fields)
        except Lost as lost:
            raise BadInput(f"the model crashes {self._name}, or takes half an hour: {str(lost)[-300:]}") from lost

    def close(self) -> None:
        self._link.close()

    def _session(self, do: str, payload: bytes, **fields: Any) -> Session:
        session = _ApartSession(self, str(next(self._keys)))
        self.ask(Nothing, do, payload, key=session.key, **fields)
        return session


class _ApartSession(Session):
    def __init__(self, apart: Apart, key: str) -> None:
        self._apart, self.key = apart, key

    def time_ns(self) -> int:
        return self.turn_ns(0, 0, 1)[0]

    def turn_ns(self, warmup_runs: int, least_ns: int, least_samples: int) -> list[int]:
        protocol: dict[str, Any] = {"warmup_runs": warmup_runs, "least_ns": least_ns, "least_samples": least_samples}
        return self._apart.ask(Samples, "turn", key=self.key, **protocol).samples_ns

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(inputs, np.float32)
        return self._apart.ask(Outputs, "infer", x.tobytes(), key=self.key, shape=list(x.shape)).array()

    def close(self) -> None:
        with suppress(BadInput):  # gone with its process
            self._apart.ask(Nothing, "close", key=self.key)


class _OwnLink(Link):
    """What our own process answers is no lie, and its faults are our own."""

    most_line_bytes = 1 << 31

    def error(self, fault: Fault) -> HwnasError:
        return (BadInput if fault.fault == "refused" else Unavailable)(fault.text, fault.mend)
