"""A conversation with the worker on a device: a JSON line each way, a request's bytes behind it, a limit on time."""

import base64
import binascii
import json
import weakref
from contextlib import suppress
from math import prod
from time import monotonic
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field, ValidationError

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput, HwnasError, Unavailable
from hwnas.devices.elsewhere import Nanoseconds, Text
from hwnas.devices.process import Process, Tail, killed_after, printable, start
from hwnas.devices.process import end as kill


class Lost(Exception):
    """The connection, or the worker behind it, is gone."""


class Fault(Settings):
    """What the worker answers when it cannot do what was asked."""

    fault: Literal["absent", "refused"]
    text: Text
    mend: Text = ""


class Nothing(Settings):
    """The answer to what only had to be done."""


class Samples(Settings):
    samples_ns: list[Nanoseconds]


class Outputs(Settings):
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=8)]
    float32: str

    def array(self) -> np.ndarray:
        """Raises ValueError when there are more or fewer values than the shape holds."""
        content = base64.b64decode(self.float32, validate=True)
        if len(content) != 4 * prod(self.shape):
            raise binascii.Error(f"{len(content)} bytes are not a {self.shape} of float32")
        return np.frombuffer(content, np.float32).reshape(self.shape)


Reply = TypeVar("Reply", bound=Settings)


class Link:
    """A running worker. `where` names it in messages; `greeting` is what its command reads first."""

    most_line_bytes: ClassVar[int] = 8 << 20
    """Of a reply: a million samples. What is longer is refused without being read."""

    def __init__(self, where: str, command: list[str], greeting: bytes) -> None:
        self.where, self.greeting = where, greeting
        self.process = start(command)
        self.errors = Tail(self.process.stderr)
        self.loaded: set[str] = set()
        self.close = weakref.finalize(self, _close, self.process)

    def ask(self, reply: type[Reply], end: float, do: str, payload: bytes = b"", **fields: Any) -> Reply:
        """An answer before `end` (of `monotonic`). Raises Lost; BadInput when the device's runtime refuses the graph;
        Unavailable when that runtime is not there, or when what comes back is no answer.
        """
        if not self.close.alive:
            raise Lost("the connection was closed")
        request = json.dumps({"do": do, "bytes": len(payload), **fields}).encode() + b"\n"
        greeting, self.greeting = self.greeting, b""
        assert self.process.stdin and self.process.stdout
        with killed_after(self.process, end - monotonic()) as late:
            try:
                self.process.stdin.write(greeting + request + payload)
                self.process.stdin.flush()
                line = self.process.stdout.readline(self.most_line_bytes + 1)
            except OSError as error:
                raise self._lost(late) from error
        if not line.endswith(b"\n"):
            raise self._liar("a line without end") if len(line) > self.most_line_bytes else self._lost(late)
        return self._parsed(reply, line)

    def _parsed(self, reply: type[Reply], line: bytes) -> Reply:
        try:
            found = (Fault if line.startswith(b'{"fault"') else reply).model_validate_json(line, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise self._liar(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        if isinstance(found, Fault):
            raise self.error(found)
        return found

    def error(self, fault: Fault) -> HwnasError:
        if fault.fault == "refused":
            return BadInput(f"{self.where} refuses the model: {fault.text}")
        mend = "install it there, or name the Python that has it: `options: {python: …}`"
        return Unavailable(f"{self.where}: {fault.text}", mend)

    def _lost(self, late: list[bool]) -> Lost:
        self.close()
        return Lost("no answer in time" if late else self.errors.text() or "the connection ended")

    def _liar(self, what: str) -> Unavailable:
        self.close()
        return Unavailable(f"{self.where} sent no valid reply ({printable(what)[:200]}): refused")


def _close(process: Process) -> None:
    kill(process)
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream
        with suppress(OSError):  # what was not sent yet cannot be any more
            stream.close()
