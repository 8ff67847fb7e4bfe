"""Chunks from worker processes, batches from chunks, and whether they come fast enough."""

import signal
import threading
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cores
from hwnas.core.progress import say, warn
from hwnas.training.datasets._source import LANES, Chunk, Reading

STARVED = 0.2
"""Of its time: a trainer that waits longer for its data wants more of whoever reads them."""
_WORTH_A_WARNING_SECONDS = 5.0
_SAY_EVERY_SECONDS = 120.0
_LIMIT_SECONDS = 600
"""A chunk that has not come in this time will not come."""
_LOOK_EVERY_SECONDS = 2
"""Whether those who read are still there, while one waits for a chunk."""
_AHEAD = 4
"""Chunks that a worker reads before they are asked for."""


class Loading:
    """`workers`: processes, 0 for one a core. `skip_corrupt`: count what cannot be read; else the first is an error."""

    def __init__(self, workers: int, skip_corrupt: bool) -> None:
        self.workers, self.skip_corrupt = workers, skip_corrupt
        self._told = 0

    def chunks(self, reading: Reading, alone: bool = False) -> Iterator[Chunk]:
        """`alone`: read here, for a few. Raises BadInput for what cannot be read, or when nothing can; Unavailable when
        a worker is lost."""
        workers = 0 if alone else self._workers(reading)
        ahead: dict[str, Any] = {"prefetch_factor": _AHEAD, "timeout": _LOOK_EVERY_SECONDS} if workers else {}
        loader = DataLoader(
            reading,
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # else it draws from everybody's
            **ahead,
        )
        skipped = read = 0
        try:
            for chunk in _patiently(_started(loader)):
                if chunk.faults and not self.skip_corrupt:
                    raise BadInput(chunk.faults[0], "mend it, or leave such files out: --set data.skip_corrupt=true")
                skipped, read = skipped + len(chunk.faults), read + len(chunk.labels)
                yield chunk
            if not read:
                raise BadInput(f"none of {skipped} images can be read")
        except RuntimeError as error:
            if "DataLoader" not in str(error):
                raise
            raise Unavailable(
                f"a process that reads images was lost: {str(error).splitlines()[0]}",
                "too little memory or /dev/shm, or hanging storage? --set data.workers=FEWER; the same command goes on",
            ) from error
        finally:
            if skipped > self._told:
                self._told = skipped
                warn(f"{skipped} images were skipped, which cannot be read")

    def _workers(self, reading: Reading) -> int:
        wanted = self.workers or cores()
        if isinstance(reading, IterableDataset):
            return max(count for count in range(1, min(wanted, LANES) + 1) if LANES % count == 0)
        return min(wanted, len(cast("Sized", reading)))


def _started(loader: DataLoader) -> Iterator[Chunk]:
    """Without torch's handler of SIGCHLD, which raises wherever the program is when a reader is killed, in a training
    step or while another error is told."""
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    return iterator


def _patiently(iterator: Iterator[Chunk]) -> Iterator[Chunk]:
    """Each time that it looks, torch finds a reader that is gone; one that hangs is given up at the limit."""
    since = monotonic()
    while True:
        try:
            chunk = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if not str(error).startswith("DataLoader timed out"):  # a reader's own error may hold the words
                raise
            if monotonic() - since > _LIMIT_SECONDS:
                raise RuntimeError(f"DataLoader: nothing came in {_LIMIT_SECONDS} seconds") from error
            continue
        yield chunk
        since = monotonic()


def batches_of(chunks: Iterator[Chunk], size: int, last: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """(pixels [size, …], labels [size]). `last`: also the one that is not full."""
    pixels, labels, held = list[Tensor](), list[Tensor](), 0
    for chunk in chunks:
        pixels.append(chunk.pixels)
        labels.append(chunk.labels)
        held += len(chunk.labels)
        while held >= size:
            all_pixels, all_labels = torch.cat(pixels), torch.cat(labels)
            yield all_pixels[:size], all_labels[:size]
            pixels, labels, held = [all_pixels[size:]], [all_labels[size:]], held - size
    if last and held:
        yield torch.cat(pixels), torch.cat(labels)


@dataclass
class Throughput:
    """Of an epoch's batches: images a second, and the share of the time that the trainer waited for them."""

    clock: Callable[[], float] = monotonic
    said_at: float | None = None
    warned: bool = False
    told: list[tuple[float, float]] = field(default_factory=list)
    """(images a second, share waited) of each epoch."""

    def watch(self, batches: Iterator[Any], expected: int) -> Iterator[Any]:
        """An epoch that is left before half of its `expected` batches tells nothing."""
        images = seen = 0
        waited, start = 0.0, self.clock()
        asked = start
        try:
            for batch in batches:
                waited += self.clock() - asked
                images, seen = images + len(batch[1]), seen + 1
                yield batch
                asked = self.clock()
        finally:
            if 2 * seen >= expected:
                self._tell(images, waited, self.clock() - start)

    def _tell(self, images: int, waited: float, seconds: float) -> None:
        a_second, share = images / max(seconds, 1e-9), waited / max(seconds, 1e-9)
        self.told.append((a_second, share))
        text = f"{a_second:,.0f} images/s, and the trainer waited {100 * share:.0f} % of the time for them"
        if share > STARVED and seconds > _WORTH_A_WARNING_SECONDS and not self.warned:
            self.warned = True
            warn(f"data: {text}: --set data.workers=MORE, smaller files, or faster storage")
        elif self.said_at is None or self.clock() - self.said_at > _SAY_EVERY_SECONDS:
            self.said_at = self.clock()
            say(f"data: {text}")


def _as_it_is(chunk: Any) -> Any:
    return chunk
