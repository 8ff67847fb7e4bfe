"""Three disjoint splits: one trains weights, one guides the search, one is the test, which is read once."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional as F

from hwnas.core.errors import BadInput
from hwnas.core.seeds import derive
from hwnas.training.datasets import Images, RawData, RawStream, RawText
from hwnas.training.ranks import Ranks

Batch = tuple[Any, Tensor]
"""What a network takes (images, or a window of text), and the labels [n] of what it gives, [n, classes]."""
EVALUATION_BATCH = 256
_SEARCH_FRACTION = 0.25
_CPU = torch.device("cpu")
_ALONE = Ranks()


class TestSplitOpened(AssertionError):
    """A defect of the caller: the test split was asked for twice."""


class Split(ABC):
    """One split as batches. Its length divided by the batch size is the number of batches of an epoch."""

    is_text: ClassVar[bool] = False
    guide: "Split | None" = None
    """Data apart, by which training may judge itself; images have none."""

    @abstractmethod
    def __len__(self) -> int: ...

    def on(self, device: torch.device) -> "Split":
        """The same split, its batches made there where that is worth it."""
        return self

    def share(self, ranks: Ranks) -> "Split":
        """The same split, of which `epoch` gives this rank's slice of every batch and `plain` its part: together the
        ranks read what one alone would. Raises BadInput where that cannot be.
        """
        if ranks.size > 1:
            raise BadInput("this data trains on one rank: its batches are not to be sliced", "run it without torchrun")
        return self

    @abstractmethod
    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Batches to train on, as the generator has it."""

    def endless(self, batch_size: int, seed: int, *name: object) -> Iterator[Batch]:
        """Epoch after epoch; each epoch's order depends only on the seed, the name and its number."""
        number = 0
        while True:
            generator = torch.Generator().manual_seed(derive(seed, *name, number))
            yield from self.epoch(min(batch_size, len(self)), generator)
            number += 1

    @abstractmethod
    def plain(self) -> Iterator[Batch]:
        """All of it once, to judge a network by."""

    @abstractmethod
    def part(self, count: int, seed: int) -> "Split":
        """One of that length. Raises BadInput where that cannot be."""

    @abstractmethod
    def first(self, count: int) -> Any:
        """Inputs of the first `count` samples."""

    def origins(self, count: int) -> dict[str, Tensor]:
        """What those inputs were made of, by its name in a bundle; words are made of nothing."""
        return {}

    @abstractmethod
    def spread(self, count: int) -> Any:
        """Inputs of `count` samples, or all, that stand for the whole."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """Answers that `plain` asks for."""

    @abstractmethod
    def standard_error(self, score: float) -> float:
        """Of a network's score on this split (`network.score`)."""


@dataclass(frozen=True)
class ImageSplit(Split):
    """Images of one split, and how they become network inputs.

    `mean`, `std`: per channel, of pixels scaled to 0–1, from the training images.
    """

    images: Images
    mean: Tensor
    std: Tensor
    resolution: int
    flip: bool
    device: torch.device = _CPU
    ranks: Ranks = _ALONE

    def __len__(self) -> int:
        return len(self.images)

    def on(self, device: torch.device) -> "ImageSplit":
        """The same split, augmented and normalised there: a GPU is not kept waiting by the CPU. What is drawn is drawn
        on the CPU, so the pixels are the same everywhere.
        """
        return replace(self, device=device, mean=self.mean.to(device), std=self.std.to(device))

    def share(self, ranks: Ranks) -> "ImageSplit":
        return replace(self, ranks=ranks)

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Augmented batches in random order; the last, incomplete one is dropped (its batch norm would be poor)."""
        mine = self.ranks.slice_of(batch_size)
        order = torch.randperm(len(self), generator=generator).numpy()
        if len(order) < batch_size:
            raise BadInput(f"a split of {len(order)} images is smaller than one batch of {batch_size}")
        for start in range(0, len(order) - batch_size + 1, batch_size):
            pixels, labels = self._at(order[start : start + batch_size][mine])
            yield self.inputs(augment(pixels, self.flip, generator, batch_size, mine)), labels

    def plain(self, batch_size: int = EVALUATION_BATCH) -> Iterator[Batch]:
        """Every image once, in order, not augmented."""
        first, end = (len(self) * rank // self.ranks.size for rank in (self.ranks.rank, self.ranks.rank + 1))
        for start in range(first, end, batch_size):
            pixels, labels = self._at(slice(start, min(start + batch_size, end)))
            yield self.inputs(pixels), labels

    def _at(self, indices: np.ndarray | slice) -> Batch:
        pixels, labels = self.images.pixels[indices], self.images.labels[indices]
        return torch.from_numpy(pixels).to(self.device), torch.from_numpy(labels).to(self.device)

    @property
    def samples(self) -> int:
        return len(self)

    def standard_error(self, score: float) -> float:
        """Binomial."""
        return sqrt(score * (1 - score) / len(self))

    def first(self, count: int) -> Tensor:
        return next(self.plain(count))[0]

    def origins(self, count: int) -> dict[str, Tensor]:
        return {"pixels": torch.from_numpy(self.images.pixels[:count])}

    def part(self, count: int, seed: int) -> "ImageSplit":
        """Of all classes alike. Raises BadInput where there are too few of one."""
        kept, _ = _stratified(self.images, np.arange(len(self)), count, seed)
        return replace(self, images=self.images.take(kept))

    def spread(self, count: int) -> Tensor:
        """`count` images, or all, evenly spread over the split (files may be sorted by class), as network inputs."""
        indices = np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)
        return self.inputs(torch.from_numpy(self.images.pixels[indices]))

    def inputs(self, pixels: Tensor) -> Tensor:
        return network_inputs(pixels, self.mean, self.std, self.resolution)


def network_inputs(pixels: Tensor, mean: Tensor, std: Tensor, resolution: int) -> Tensor:
    """uint8 [n, c, h, w] → normalised float32 [n, c, resolution, resolution], channels last in memory."""
    x = (pixels.float() / 255 - mean[:, None, None]) / std[:, None, None]
    if x.shape[-2:] != (resolution, resolution):
        x = F.interpolate(x, size=(resolution, resolution), mode="bilinear", align_corners=False)
    return x.contiguous(memory_format=torch.channels_last)


def augment(
    pixels: Tensor, flip: bool, generator: torch.Generator, batch: int | None = None, mine: slice = slice(None)
) -> Tensor:
    """Random shift by up to an eighth of the image (zero padding), and a random mirror image where that makes sense.

    Of a `batch` of more images, of which these are `mine`, what is drawn is drawn for all.
    """
    n, _, height, width = pixels.shape
    drawn = batch or n
    pad = max(1, height // 8)
    padded = F.pad(pixels, (pad, pad, pad, pad))
    top = torch.randint(0, 2 * pad + 1, (drawn, 1, 1), generator=generator)[mine]
    left = torch.randint(0, 2 * pad + 1, (drawn, 1, 1), generator=generator)[mine]
    rows = top + torch.arange(height)[None, :, None]
    columns = torch.arange(width)[None, None, :].expand(n, 1, width)
    if flip:
        mirrored = torch.rand(drawn, 1, 1, generator=generator)[mine] < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    taken = (torch.arange(n)[:, None, None], rows, left + columns)
    image, row, column = (index.to(pixels.device, non_blocking=True) for index in taken)
    return padded[image, :, row, column].permute(0, 3, 1, 2)


class Data:
    """The splits of one run. Final networks train on `train` = `weights` ∪ `search`: nothing is left to choose then."""

    channels: int
    """0 for text."""
    class_names: tuple[str, ...]
    weights: Split
    search: Split
    train: Split
    _test: Split | None

    def __init__(
        self,
        raw: RawData,
        resolution: int,
        seed: int,
        search_fraction: float = _SEARCH_FRACTION,
        limit: int | None = None,
    ) -> None:
        """`limit`: use only so many training images, of all classes alike. The test split is never cut."""
        self.class_names = raw.class_names
        self.channels = raw.train.pixels.shape[1]
        train = raw.train
        if limit is not None and limit < len(train):
            kept, _ = _stratified(train, np.arange(len(train)), limit, derive(seed, "limit"))
            train = train.take(kept)
        guide = round(search_fraction * len(train))
        search, weights = _stratified(train, np.arange(len(train)), guide, derive(seed, "split"))
        mean, std = moments(train.pixels)
        self.mean, self.std = mean, std

        def split(images: Images) -> Split:
            return ImageSplit(images, mean, std, resolution, raw.flip)

        self.weights, self.search, self.train = split(train.take(weights)), split(train.take(search)), split(train)
        self._test = split(raw.test)

    @property
    def is_text(self) -> bool:
        return self.channels == 0

    @property
    def classes(self) -> int:
        return len(self.class_names)

    def open_test(self) -> Split:
        """The test split, once. Raises TestSplitOpened the second time."""
        if self._test is None:
            raise TestSplitOpened("the test split is read once, after everything is chosen")
        test, self._test = self._test, None
        return test


def _stratified(images: Images, indices: np.ndarray, first: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint parts with all classes alike, the first of this size."""
    try:
        a, b = train_test_split(indices, train_size=first, random_state=seed % 2**32, stratify=images.labels)
    except ValueError as error:
        raise BadInput(f"the {len(indices)} training images cannot be split into parts: {error}") from error
    return np.sort(a), np.sort(b)


def moments(pixels: np.ndarray) -> tuple[Tensor, Tensor]:
    """Per channel, of pixels scaled to 0–1; summed image by image, so that nothing large is copied."""
    scaled = (image.reshape(image.shape[0], -1) / 255 for image in pixels)
    sums = np.zeros((2, pixels.shape[1]))
    for image in scaled:
        sums += image.mean(1), (image**2).mean(1)
    mean, square = sums / len(pixels)
    std = np.sqrt(np.maximum(square - mean**2, 1e-6))
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)


def open_data(name: str, settings: dict[str, object], resolution: int, seed: int) -> Data:
    """A data set by name, with `limit` and `search_fraction` beside its own settings."""
    from hwnas.core.config import validate
    from hwnas.core.plugins import load
    from hwnas.training.streamed import StreamedData
    from hwnas.training.text import TextData

    own = dict(settings)
    limit, fraction = own.pop("limit", None), own.pop("search_fraction", _SEARCH_FRACTION)
    if not (limit is None or (isinstance(limit, int) and limit > 0)):
        raise BadInput(f"data.limit must be a positive number of images or words, not {limit!r}")
    if not (isinstance(fraction, int | float) and 0 < fraction < 1):
        raise BadInput(f"data.search_fraction must lie between 0 and 1, not {fraction!r}")
    plugin = load("datasets", name)
    raw = plugin(validate(plugin.Settings, own, "data")).load(resolution)
    if isinstance(raw, RawText):
        if fraction != _SEARCH_FRACTION:
            raise BadInput("data.search_fraction is of images: a text has a validation file", "leave it out")
        return TextData(raw, limit)
    if isinstance(raw, RawStream):
        return StreamedData(raw, resolution, seed, float(fraction), limit)
    return Data(raw, resolution, seed, float(fraction), limit)
