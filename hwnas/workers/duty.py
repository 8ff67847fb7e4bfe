"""What a worker process does, wherever it runs: one task at a time, its words in the task's log."""

import contextlib
import errno
import faulthandler
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.core.errors import HwnasError, StorageFailed

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Crash:
    """The task raised something that is no message for the user."""

    why: str


def settle(memory_mib: int | None) -> None:
    """Once in a worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the head has the word
    faulthandler.enable()
    if memory_mib is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mib * 2**20, memory_mib * 2**20))


def ready() -> None:
    """Of a worker that has nothing to set up."""


def perform(function: Callable[..., Any], arguments: tuple[Any, ...], log: Path) -> Any:
    """What it returns, an error of ours, or a Crash."""
    try:
        with _speaking_into(log):
            return function(*arguments)
    except HwnasError as error:
        return error
    except Exception as error:  # noqa: BLE001  one architecture's crash is no reason to end a search
        if isinstance(error, OSError) and error.errno in _NO_ROOM:  # but a full disk is
            return StorageFailed(f"cannot write: {error}", "free some space; the same command resumes")
        text = " ".join(str(error).split())[:200]
        return Crash(f"{type(error).__name__}: {text}" if text else type(error).__name__)


@contextlib.contextmanager
def _speaking_into(log: Path) -> Iterator[None]:
    """Everything, what libraries and the dying interpreter print as well."""
    log.parent.mkdir(parents=True, exist_ok=True)
    before = [os.dup(1), os.dup(2)]
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    except Exception:
        with contextlib.suppress(OSError):
            traceback.print_exc()
        raise
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a full disk
                stream.flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)
