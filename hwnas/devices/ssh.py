"""A runtime on another machine, reached by the system's `ssh`: its configuration, keys and known hosts apply.

Nothing is installed there: the worker is sent to the device's Python each time, and checked before it runs.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from time import monotonic, perf_counter_ns, sleep
from typing import Any, TypeVar

import numpy as np
from pydantic import Field

from hwnas.core.config import Settings
from hwnas.core.errors import Unavailable
from hwnas.core.target import Target
from hwnas.devices.aboard import as_stdin, require
from hwnas.devices.elsewhere import Elsewhere, Identity, State, check_identity, fault_of_turn
from hwnas.devices.link import Link, Lost, Nothing, Outputs, Samples
from hwnas.devices.secure_shell import command, explained
from hwnas.runtimes import Session

_CONNECTIONS = 5
"""Tried for one request: a model that kills the worker does not do so for ever."""
_CLOCK_SLACK = 1.01
"""A device's clock may run this much faster than ours."""


class Opened(Settings):
    identity: Identity
    state: State


class SshOptions(Settings):
    python: str = Field(default="python3", pattern=r"^[A-Za-z0-9_./+][A-Za-z0-9_./+-]*$")
    """The device's Python that has the runtime, e.g. /home/pi/venv/bin/python."""
    timeout_seconds: float = Field(default=120, gt=0)
    """No request takes longer, reconnecting included."""


T = TypeVar("T")


class Ssh(Elsewhere):
    Options = SshOptions
    incidental = frozenset({"python", "timeout_seconds"})

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        require(target)
        self.link: Link | None = None
        self._first: Opened | None = None
        self._keys = count()

    def identity(self) -> Mapping[str, str | int]:
        return self._opened().identity

    def state(self) -> Mapping[str, str | int | float]:
        """As it was when the device was first reached."""
        return self._opened().state

    def load(self, model: bytes) -> Session:
        session = _SshSession(self, str(next(self._keys)), self.portable(model))
        self.patiently(session.load)
        return session

    def patiently(self, conversation: Callable[[Link, float], T]) -> T:
        """`conversation(link, end)`; again over a new connection when the old one is lost, until `timeout_seconds` are
        over. Raises Unavailable.
        """
        end, reason = monotonic() + self.options.timeout_seconds, ""
        for attempt in range(_CONNECTIONS):
            try:
                return conversation(self._connected(end), end)
            except Lost as lost:
                self.link, reason = None, str(lost)
                if self._first is None:  # never reached: a wrong address or a missing key does not mend itself
                    raise explained(self.target.host, reason) from lost
            pause = 0.2 * 3**attempt
            if monotonic() + pause > end:
                break
            sleep(pause)
        raise Unavailable(
            f"{self.target.host} does not answer: {reason[-300:]}",
            "when it is back, run the same command again: it resumes",
        )

    def _opened(self) -> Opened:
        if self._first is None:
            self.patiently(lambda link, end: None)
        assert self._first
        return self._first

    def _connected(self, end: float) -> Link:
        if self.link and self.link.close.alive:
            return self.link
        worker = as_stdin(self.target.runtime, "serve.py")
        link = Link(self.target.host, command(self.target.host, self.options.python, worker), worker)
        target = self.target.model_dump(include={"runtime", "provider", "threads", "batch"})
        opened = link.ask(Opened, end, "open", target=target)
        check_identity(opened.identity, self.target)
        if self._first and opened.identity != self._first.identity:
            raise Unavailable(f"another device answers at {self.target.host} than before: {opened.identity['device']}")
        self.link, self._first = link, self._first or opened
        return link


class _SshSession(Session):
    """Keeps its model, to send it again when the worker had to be started anew."""

    def __init__(self, runtime: Ssh, key: str, model: bytes) -> None:
        self._runtime, self._key, self._model = runtime, key, model

    def load(self, link: Link, end: float) -> None:
        if self._key not in link.loaded:
            link.ask(Nothing, end, "load", self._model, key=self._key)
            link.loaded.add(self._key)

    def _ask(self, reply: type[T], do: str, payload: bytes = b"", **fields: Any) -> T:
        def conversation(link: Link, end: float) -> T:
            self.load(link, end)
            return link.ask(reply, end, do, payload, key=self._key, **fields)  # type: ignore[type-var]

        return self._runtime.patiently(conversation)

    def time_ns(self) -> int:
        return self.turn_ns(0, 0, 1)[0]

    def turn_ns(self, warmup_runs: int, least_ns: int, least_samples: int) -> list[int]:
        start = perf_counter_ns()
        samples = self._ask(
            Samples, "turn", warmup_runs=warmup_runs, least_ns=least_ns, least_samples=least_samples
        ).samples_ns
        fault = fault_of_turn(samples, least_ns, least_samples)
        if sum(samples) > _CLOCK_SLACK * (perf_counter_ns() - start):
            fault = f"it claims {sum(samples)} ns, more than have passed"
        if fault:
            raise Unavailable(f"{self._runtime.target.host} sent no valid times ({fault}): refused")
        return samples

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(inputs, dtype=np.float32)
        outputs = self._ask(Outputs, "infer", x.tobytes(), shape=list(x.shape))
        try:
            return outputs.array()
        except ValueError as error:
            raise Unavailable(f"{self._runtime.target.host} sent no valid outputs ({error}): refused") from error

    def close(self) -> None:
        link, self._model = self._runtime.link, b""
        if link and self._key in link.loaded:
            with suppress(Lost):  # gone with its worker
                link.ask(Nothing, monotonic() + self._runtime.options.timeout_seconds, "close", key=self._key)
