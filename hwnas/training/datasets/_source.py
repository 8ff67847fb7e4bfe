"""Images that stay on disk: read when they are asked for, chunk by chunk, by worker processes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hwnas.training.datasets._pictures import Unreadable, square_of

Reading = Dataset[Any]
"""Chunks, by number or one after another; it travels to the worker processes."""

CHUNK = 32
"""Images that travel together from a worker."""
LANES = 24
"""In which shards are read; many divisors: the workers share them evenly."""


class Chunk(NamedTuple):
    """Up to CHUNK images: `pixels` uint8 [n, 3, size, size], `labels` int64 [n]; and `faults` in place of others."""

    pixels: Tensor
    labels: Tensor
    faults: list[str]

    def with_faults(self, others: Iterable[str]) -> "Chunk":
        return self._replace(faults=[*self.faults, *others])


class Source(ABC):
    """The same numbers come out whatever the count of worker processes."""

    @abstractmethod
    def __len__(self) -> int:
        """Images, those that cannot be decoded among them."""

    @abstractmethod
    def classes_held(self) -> set[int]:
        """Classes of which there are images."""

    @abstractmethod
    def shuffled(self, generator: torch.Generator) -> Reading:
        """In the order that the generator has it."""

    @abstractmethod
    def ordered(self) -> Reading:
        """The same every time."""

    @abstractmethod
    def parted(self, first: int, seed: int) -> "tuple[Source, Source]":
        """Two disjoint parts, the first of about this many images. Raises BadInput where that cannot be."""

    @abstractmethod
    def spread(self, count: int) -> "Source":
        """About `count` images, or all, that stand for the whole and are read soon."""


def chunk_of(encoded: Iterable[tuple[Any, int, str]], size: int) -> Chunk:
    """Of (path or bytes, label, name of the image)."""
    pixels, labels, faults = [], [], []
    for content, label, name in encoded:
        try:
            pixels.append(square_of(content, size))
            labels.append(label)
        except Unreadable as error:
            faults.append(f"{name} is not a readable image: {error}")
    stacked = np.stack(pixels) if pixels else np.zeros((0, 3, size, size), np.uint8)
    return Chunk(torch.from_numpy(stacked), torch.tensor(labels, dtype=torch.int64), faults)
