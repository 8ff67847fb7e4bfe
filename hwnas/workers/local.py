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
        gpu = str(int(number * self.settings.gpus)) if self.settings.gpus else None
        # No daemon: a task may have processes of its own, which read data.
        process = self.context.Process(target=_serve, args=(theirs, self.settings.memory_mib, gpu))
        process.start()
        theirs.close()
        return Process(process, ours)

    def wait(self, workers: Sequence[Process], seconds: float | None) -> list[Process]:
        by_pipe = {worker.pipe: worker for worker in workers}
        return [by_pipe[pipe] for pipe in connection.wait(list(by_pipe), seconds) if isinstance(pipe, Connection)]

    def close(self) -> None:
        """The pool has ended them all."""


def _serve(pipe: Connection, memory_mib: int | None, gpu: str | None) -> None:
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
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
