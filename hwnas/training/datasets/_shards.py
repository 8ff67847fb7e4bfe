"""Tar shards of images, each read from its start to its end.

An epoch runs in lanes, whatever the count of worker processes: the shards in the epoch's order are dealt to the lanes,
every lane shuffles what it reads in a buffer of its own, and the lanes give chunks in turn. A worker has some of the
lanes, so more workers give the same batches sooner.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.filters import shuffle
from webdataset.tariterators import group_by_keys, tar_file_expander

from hwnas.core.errors import BadInput
from hwnas.core.seeds import stream
from hwnas.training.datasets._pictures import SUFFIXES
from hwnas.training.datasets._shard_index import BROKEN, Shard
from hwnas.training.datasets._source import CHUNK, LANES, Chunk, Reading, Source, chunk_of

Sample = tuple[bytes, int, str] | str
"""An encoded image, its label and its name; or why there is none."""


@dataclass(frozen=True)
class Shards(Source):
    """`label`: the key of the class in a sample; `classes`: its texts. `buffer`: samples that are shuffled at a time.
    `most`: read of every shard."""

    shards: tuple[Shard, ...]
    classes: tuple[str, ...]
    label: str
    size: int
    buffer: int
    most: int | None = None

    def __len__(self) -> int:
        return sum(self.samples(shard) for shard in self.shards)

    def samples(self, shard: Shard) -> int:
        return shard.samples if self.most is None else min(self.most, shard.samples)

    def classes_held(self) -> set[int]:
        held = {label for shard in self.shards for label in shard.labels}
        return {number for number, text in enumerate(self.classes) if text in held}

    def shuffled(self, generator: torch.Generator) -> Reading:
        return _ShardReading(self, int(torch.randint(2**62, (1,), generator=generator)))

    def ordered(self) -> Reading:
        return _ShardReading(self, None)

    def parted(self, first: int, seed: int) -> "tuple[Shards, Shards]":
        """Whole shards: no file is read for the images of another split."""
        order = list(self.shards)
        stream(seed, "shards").shuffle(order)
        taken, count = 1, self.samples(order[0])
        while taken < len(order) - 1 and count + self.samples(order[taken]) / 2 <= first:
            count += self.samples(order[taken])
            taken += 1
        if taken >= len(order):
            raise BadInput(
                f"the {len(order)} training shards cannot be split into parts: a shard goes to one part as a whole",
                "write more and smaller shards",
            )
        a, b = (sorted(part, key=lambda shard: shard.path) for part in (order[:taken], order[taken:]))
        return replace(self, shards=tuple(a)), replace(self, shards=tuple(b))

    def spread(self, count: int) -> "Shards":
        """The first images of up to 64 shards."""
        few = min(len(self.shards), 64)
        evenly = tuple(self.shards[i * len(self.shards) // few] for i in range(few))
        return replace(self, shards=evenly, most=-(-count // few))


class _ShardReading(IterableDataset[Chunk]):
    """`seed`: of the order; None: as they lie."""

    def __init__(self, source: Shards, seed: int | None) -> None:
        self.source, self.seed = source, seed
        order = list(source.shards)
        if seed is not None:
            stream(seed, "order").shuffle(order)
        self.lanes = [order[lane::LANES] for lane in range(LANES)]
        self.rounds = max(-(-sum(map(source.samples, lane)) // CHUNK) for lane in self.lanes)

    def __iter__(self) -> Iterator[Chunk]:
        """A lane that has come to its end gives empty chunks: each worker's turn comes as often as the others'."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        mine = [self._lane(number) for number in range(first, LANES, step)]
        for _ in range(self.rounds):
            for lane in mine:
                yield next(lane)

    def _lane(self, number: int) -> Iterator[Chunk]:
        samples = self._samples(self.lanes[number])
        if self.seed is not None:
            buffer = max(1, self.source.buffer // LANES)
            samples = iter(shuffle(buffer, initial=buffer, rng=stream(self.seed, "buffer", number))(samples))
        while True:
            taken = list(islice(samples, CHUNK))
            yield chunk_of((sample for sample in taken if not isinstance(sample, str)), self.source.size).with_faults(
                sample for sample in taken if isinstance(sample, str)
            )

    def _samples(self, shards: list[Shard]) -> Iterator[Sample]:
        numbers = {text: label for label, text in enumerate(self.source.classes)}
        for shard in shards:
            yield from islice(self._of_shard(Path(shard.path), numbers), self.source.samples(shard))

    def _of_shard(self, path: Path, numbers: dict[str, int]) -> Iterator[Sample]:
        try:
            with path.open("rb") as file:
                for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": file}])):
                    image = next((sample[key] for key in sample if f".{key}" in SUFFIXES), None)
                    label = sample.get(self.source.label, b"").decode(errors="replace").strip()
                    if image and label in numbers:  # the index has told of others
                        yield image, numbers[label], f"{path}: {sample['__key__']}"
        except BROKEN as error:
            yield f"{path} is not a whole tar file: {error}"
