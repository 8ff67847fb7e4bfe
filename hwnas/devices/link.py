"""A conversation with the worker on a device: a JSON line each way, a request's bytes behind it, a limit on time."""

import json
import weakref
from contextlib import suppress
from time import monotonic
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput, Unavailable
from hwnas.devices.elsewhere import Text
from hwnas.devices.process import Process, Tail, killed_after, printable, start
from hwnas.devices.process import end as kill

MOST_LINE_BYTES = 8 << 20
"""Of a reply: a million samples. What is longer is refused without being read."""


class Lost(Exception):
    """The connection, or the worker behind it, is gone."""


class Fault(Settings):
    """What the worker answers when it cannot do what was asked."""

    fault: Literal["absent", "refused"]
    text: Text


S = TypeVar("S", bound=Settings)


class Link:
    """A running worker. `where` names it in messages; `greeting` is what its command reads first."""

    def __init__(self, where: str, command: list[str], greeting: bytes) -> None:
        self.where, self.greeting = where, greeting
        self.process = start(command)
        self.errors = Tail(self.process.stderr)
        self.loaded: set[str] = set()
        self.close = weakref.finalize(self, _close, self.process)

    def ask(self, reply: type[S], end: float, do: str, payload: bytes = b"", **fields: Any) -> S:
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
                line = self.process.stdout.readline(MOST_LINE_BYTES + 1)
            except OSError as error:
                raise self._lost(late) from error
        if not line.endswith(b"\n"):
            raise self._liar("a line without end") if len(line) > MOST_LINE_BYTES else self._lost(late)
        return self._parsed(reply, line)

    def _parsed(self, reply: type[S], line: bytes) -> S:
        try:
            found = (Fault if line.startswith(b'{"fault"') else reply).model_validate_json(line, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise self._liar(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        if isinstance(found, Fault):
            if found.fault == "refused":
                raise BadInput(f"{self.where} refuses the model: {found.text}")
            raise Unavailable(
                f"{self.where}: {found.text}",
                "install it there, or name the Python that has it: `options: {python: …}`",
            )
        return found

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
