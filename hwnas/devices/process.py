"""Programs that may hang, die, or say too much."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread, Timer
from typing import IO, NamedTuple

from hwnas.core.errors import Unavailable

Process = subprocess.Popen[bytes]


class Done(NamedTuple):
    """`late`: its time was over, so it was killed. `too_long`: it said more than it may, so it was killed."""

    code: int
    output: str
    errors: str
    late: bool
    too_long: bool


def run(command: list[str], seconds: float, most_bytes: int = 1 << 20) -> Done:
    """Run a program to its end. Raises Unavailable when there is no such program."""
    process = start(command)
    errors = Tail(process.stderr)
    with killed_after(process, seconds) as late:
        assert process.stdin and process.stdout
        process.stdin.close()
        output = process.stdout.read(most_bytes + 1)
        too_long = len(output) > most_bytes
        if too_long:
            end(process)
        process.wait()
    return Done(process.returncode, output[:most_bytes].decode(errors="replace"), errors.text(), bool(late), too_long)


def start(command: list[str]) -> Process:
    """With pipes, in a process group of its own. Raises Unavailable when there is no such program."""
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    except OSError as error:
        raise Unavailable(f"cannot start {command[0]}: {error.strerror}", f"install {command[0]}") from error


def end(process: Process) -> None:
    """Kill it and its children, which would hold its pipes open."""
    if process.returncode is not None:
        return  # its number may be another's by now
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def killed_after(process: Process, seconds: float) -> Iterator[list[bool]]:
    """Blocking reads and writes end when the process is killed; the list is no longer empty then."""
    late: list[bool] = []

    def kill() -> None:
        late.append(True)
        end(process)

    timer = Timer(max(seconds, 0.0), kill)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


class Tail:
    """Reads a stream in the background, so that it never fills up, and keeps its last bytes."""

    def __init__(self, stream: IO[bytes] | None, most: int = 4096) -> None:
        assert stream
        self._stream, self._most, self._kept = stream, most, b""
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), 4096):
                self._kept = (self._kept + chunk)[-self._most :]

    def text(self, wait_seconds: float = 1.0) -> str:
        """Printable, in one line. Waits for the stream's end, but not for long."""
        self._thread.join(wait_seconds)
        return printable(self._kept.decode(errors="replace"))


def printable(text: str) -> str:
    """In one line, without control characters: it may end up on a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
