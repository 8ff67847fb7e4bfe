"""Images that are read from disk at every epoch: what does not fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import sqrt

import torch
from torch import Tensor

from hwnas.core.errors import BadInput
from hwnas.core.progress import warn
from hwnas.core.seeds import derive
from hwnas.training.data import EVALUATION_BATCH, Batch, Data, Split, augment, moments, network_inputs
from hwnas.training.datasets import RawStream
from hwnas.training.datasets._source import Source
from hwnas.training.loading import Loading, Throughput, batches_of
from hwnas.training.ranks import Ranks

_CPU = torch.device("cpu")
_ALONE = Ranks()
_MOMENTS_OF = 2048
"""Images that tell mean and standard deviation."""


@dataclass(frozen=True)
class StreamedSplit(Split):
    """As `ImageSplit`, with the images on disk. An epoch has fewer batches where images cannot be read."""

    source: Source
    loading: Loading
    mean: Tensor
    std: Tensor
    resolution: int
    flip: bool
    device: torch.device = _CPU
    ranks: Ranks = _ALONE
    throughput: Throughput = field(default_factory=Throughput)

    def __len__(self) -> int:
        return len(self.source)

    def on(self, device: torch.device) -> "StreamedSplit":
        return replace(self, device=device, mean=self.mean.to(device), std=self.std.to(device))

    def share(self, ranks: Ranks) -> "StreamedSplit":
        """Every rank reads and decodes the whole batch: what cannot be read is then left out alike everywhere."""
        return replace(self, ranks=ranks)

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        if len(self) < batch_size:
            raise BadInput(f"a split of {len(self)} images is smaller than one batch of {batch_size}")
        chunks = self.loading.chunks(self.source.shuffled(generator))
        batches = self._augmented(
            batches_of(chunks, batch_size, last=False), self.ranks.slice_of(batch_size), generator
        )
        return self.throughput.watch(batches, len(self) // batch_size)

    def _augmented(self, batches: Iterator[Batch], mine: slice, generator: torch.Generator) -> Iterator[Batch]:
        none = True
        for pixels, labels in batches:
            none = False
            placed = pixels[mine].to(self.device, non_blocking=True)
            augmented = augment(placed, self.flip, generator, len(pixels), mine)
            yield self.inputs(augmented), labels[mine].to(self.device, non_blocking=True)
        if none:
            raise BadInput("too few images for one batch can be read", "a smaller batch_size, or mend the images")

    def plain(self, batch_size: int = EVALUATION_BATCH) -> Iterator[Batch]:
        chunks = self.loading.chunks(self.source.ordered())
        for pixels, labels in batches_of(chunks, batch_size, last=True):
            pixels, labels = (part[self.ranks.rank :: self.ranks.size] for part in (pixels, labels))
            if not len(labels):
                return  # a last batch of fewer images than ranks
            yield self.inputs(pixels.to(self.device)), labels.to(self.device)

    @property
    def samples(self) -> int:
        return len(self)

    def standard_error(self, score: float) -> float:
        """Binomial."""
        return sqrt(score * (1 - score) / len(self))

    def part(self, count: int, seed: int) -> "StreamedSplit":
        return replace(self, source=self.source.parted(count, seed)[0])

    def first(self, count: int) -> Tensor:
        return self.inputs(self._first(count).to(self.device))

    def origins(self, count: int) -> dict[str, Tensor]:
        return {"pixels": self._first(count)}

    def _first(self, count: int) -> Tensor:
        chunks = self.loading.chunks(self.source.ordered(), alone=True)
        return next(batches_of(chunks, min(count, len(self)), last=True))[0]

    def spread(self, count: int) -> Tensor:
        return self.inputs(pixels_of(self.source.spread(count), self.loading)[:count].to(self.device))

    def inputs(self, pixels: Tensor) -> Tensor:
        return network_inputs(pixels, self.mean, self.std, self.resolution)


class StreamedData(Data):
    """The splits of images on disk: shards are split as wholes, files one by one and of all classes alike."""

    def __init__(self, raw: RawStream, resolution: int, seed: int, search_fraction: float, limit: int | None) -> None:
        self.class_names, self.channels = raw.class_names, 3
        train = raw.train
        if limit is not None and limit < len(train):
            train, _ = train.parted(limit, derive(seed, "limit"))
        search, weights = train.parted(round(search_fraction * len(train)), derive(seed, "split"))
        for name, part in (("weights", weights), ("search", search)):
            _check_classes(part, name, self.class_names)
        loading = Loading(raw.workers, raw.skip_corrupt)
        self.mean, self.std = moments(pixels_of(train.spread(_MOMENTS_OF), loading).numpy())

        def split(source: Source) -> Split:
            return StreamedSplit(source, loading, self.mean, self.std, resolution, raw.flip)

        self.weights, self.search, self.train = split(weights), split(search), split(train)
        self._test = split(raw.test)


def _check_classes(part: Source, name: str, class_names: tuple[str, ...]) -> None:
    """Shards that were written class after class cannot be split by the shard. Raises BadInput where that shows."""
    missing = sorted(set(range(len(class_names))) - part.classes_held())
    if not missing:
        return
    first = class_names[missing[0]]
    what = f"the {name} split of {len(part):,} images has none of {len(missing)} classes ({first} is one)"
    if 2 * len(missing) >= len(class_names):
        raise BadInput(what, "shuffle the images before they are written to shards, or write smaller shards")
    warn(what)


def pixels_of(source: Source, loading: Loading) -> Tensor:
    """All of them, uint8 [n, 3, size, size]. Raises BadInput where none can be read."""
    return torch.cat([chunk.pixels for chunk in loading.chunks(source.ordered())])
