"""Work in processes of its own, each with a pipe back to the one that keeps the books."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from hwnas.core.errors import HwnasError, Unavailable
from hwnas.core.progress import be_quiet

Item = TypeVar("Item")


def spread(
    function: Callable[[Item], Any], batches: Sequence[Sequence[Item]], workers: int, quiet: bool
) -> Iterator[tuple[Item, Any]]:
    """(item, function(item)) as they come: every batch in a process of its own, `workers` of them at a time.

    `function` must be importable. Raises what it raised of ours; Unavailable when a process was killed. No process
    outlives this one or the loop that reads from it.
    """
    context, waiting, running = get_context("spawn"), list(batches), {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                batch = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(function, batch, theirs, quiet), daemon=True)
                process.start()
                theirs.close()
                running[ours] = (process, batch)
            for pipe in connection.wait(list(running)):
                assert isinstance(pipe, Connection)
                process, batch = running[pipe]
                try:
                    number, result = pipe.recv()
                except EOFError:
                    del running[pipe]
                    process.join()
                    if process.exitcode:
                        raise Unavailable(
                            f"a worker of the comparison ended with the status {process.exitcode}",
                            "too little memory? Fewer --workers; the same command goes on from here",
                        ) from None
                    continue
                if isinstance(result, HwnasError):
                    raise result
                yield batch[number], result
    finally:
        for process, _ in running.values():
            process.kill()
            process.join()


def _work(function: Callable[[Any], Any], batch: Sequence[Any], pipe: Connection, quiet: bool) -> None:
    be_quiet(quiet)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for number, item in enumerate(batch):
            pipe.send((number, function(item)))
    except HwnasError as error:
        pipe.send((0, error))
    except KeyboardInterrupt:  # Ctrl-C reaches every process of the terminal; the parent has the word
        os._exit(0)


def _end_with_parent() -> None:
    """Killed without a chance to say so, the parent would leave a worker behind that holds a run's lock."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
