"""Workers that are processes of this machine, each with a pipe to the one that keeps the books."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from signal import Signals
from typing import Any

from hwnas.workers.duty import perform, settle
from hwnas.workers.pool import Gone, Place, Worker
from hwnas.workers.settings import Workers


class Process(Worker):
    def __init__(self, process: SpawnProcess, pipe: Connection) -> None:
        self.process, self.pipe = process, pipe

    def give(self, function: Callable[..., Any], arguments: tuple[Any, ...], log: Path) -> None:
        with suppress(BrokenPipeError):  # it was killed while it had nothing to do: `take` says so
            self.pipe.send((function, arguments, log))

    def take(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            raise Gone(_ending(self.process.exitcode or 0)) from None

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Local(Place):
    def __init__(self, settings: Workers) -> None:
        self.settings, self.context = settings, get_context("spawn")

    def hire(self, number: int) -> Process:
        ours, theirs = self.context.Pipe()
        gpus = gpus_of(number, self.settings.gpus) if self.settings.gpus else None
        # No daemon: a task may have processes of its own, which read data.
        process = self.context.Process(target=_serve, args=(theirs, self.settings.memory_mib, gpus))
        process.start()
        theirs.close()
        return Process(process, ours)

    def wait(self, workers: Sequence[Process], seconds: float | None) -> list[Process]:
        by_pipe = {worker.pipe: worker for worker in workers}
        return [by_pipe[pipe] for pipe in connection.wait(list(by_pipe), seconds) if isinstance(pipe, Connection)]

    def close(self) -> None:
        """The pool has ended them all."""


def gpus_of(number: int, share: float) -> range:
    """Which of this machine's GPUs the worker of that number has, where each has a `share` (or several)."""
    several, together = max(1, int(share)), max(1, int(1 / share))
    first = number // together * several
    return range(first, first + several)


def _serve(pipe: Connection, memory_mib: int | None, gpus: range | None) -> None:
    if gpus is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        known = visible.split(",") if visible else list(map(str, range(gpus.stop)))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(known[gpus.start : gpus.stop])
    settle(memory_mib)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            function, arguments, log = pipe.recv()
        except EOFError:
            return
        pipe.send(perform(function, arguments, log))


def _end_with_parent() -> None:
    """Killed without a chance to say so, the head would leave a worker behind that holds a run's lock."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _ending(code: int) -> str:
    if code >= 0:
        return f"its worker ended with the status {code}"
    name = Signals(-code).name
    return f"its worker was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
