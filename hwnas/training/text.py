"""Text as batches for truncated back-propagation through time: windows of a few words, in rows side by side.

Three disjoint splits: the training text trains weights, the validation text guides the search (as in ENAS and DARTS,
whose controller and α learn from it) and tells when to average, the test text is read once.
"""

from collections.abc import Iterator
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from hwnas.core.errors import BadInput
from hwnas.spaces import Window
from hwnas.training.data import Batch, Data, Split
from hwnas.training.datasets import RawText

_SPREAD_NATS = 2.7
"""Standard deviation of a word's cross-entropy: that of PTB under its word frequencies; sharper models have more."""
_ROWS = 16
"""Side by side in a judgement; each row starts without a memory."""


class TextSplit(Split):
    """`words`: int64 [n]. `span`: of a window."""

    is_text = True

    def __init__(self, words: np.ndarray, span: int, guide: Split | None = None) -> None:
        self.words, self.span, self.guide = torch.from_numpy(words), span, guide

    def __len__(self) -> int:
        """Windows, where each epoch begins up to a window later than the text."""
        return max(0, (len(self.words) - 1) // self.span - 1)

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """`batch_size` rows. It begins anywhere in the first window, so that windows end elsewhere each time."""
        count = len(self) // batch_size
        if count == 0:
            what = f"a text of {len(self.words)} words is too short for {batch_size} rows of {self.span}"
            raise BadInput(what, "a smaller batch_size")
        start = int(torch.randint(self.span, (1,), generator=generator))
        noise = int(torch.randint(2**62, (1,), generator=generator))
        words = self.words[start : start + batch_size * count * self.span + 1]
        yield from windows(words, batch_size, self.span, noise)

    def plain(self) -> Iterator[Batch]:
        yield from windows(self.words[: self.samples + 1], self._rows, self.span, noise=0)

    @property
    def samples(self) -> int:
        """All words but the first, up to what does not fill the rows."""
        return (len(self.words) - 1) // self._rows * self._rows

    def standard_error(self, score: float) -> float:
        """Of exp(−mean cross-entropy)."""
        return score * _SPREAD_NATS / sqrt(self.samples)

    @property
    def _rows(self) -> int:
        return min(_ROWS, max(1, len(self.words) - 1))

    def part(self, count: int, seed: int) -> "TextSplit":
        """Words that follow one another."""
        words = (count + 1) * self.span + 1
        if count < 1 or words > len(self.words):
            raise BadInput(f"a text of {len(self.words)} words has no part of {count} windows of {self.span}")
        generator = torch.Generator().manual_seed(seed % 2**63)
        start = int(torch.randint(len(self.words) - words + 1, (1,), generator=generator))
        return TextSplit(self.words[start : start + words].numpy(), self.span, self.guide)

    def first(self, count: int) -> Window:
        return Window(self.words[None, :count])

    def spread(self, count: int) -> Window:
        """The first ones: they are to follow one another."""
        return self.first(count)


def windows(words: Tensor, rows: int, span: int, noise: int) -> Iterator[Batch]:
    """`words`: [rows · length + 1] → windows over [rows, length], each with the words that follow, [rows · span]."""
    read, next_ones = words[:-1].view(rows, -1), words[1:].view(rows, -1)
    states: dict[int, Tensor] = {}
    for number, place in enumerate(range(0, read.shape[1], span)):
        part = slice(place, place + span)
        yield Window(read[:, part], number, noise + number, states), next_ones[:, part].flatten()


class TextData(Data):
    """Final networks train on the training text alone: the validation text tells when to average."""

    def __init__(self, raw: RawText, limit: int | None = None) -> None:
        """`limit`: use only so many training words."""
        self.class_names, self.channels = raw.words, 0
        self.search, self._test = (TextSplit(words, raw.span) for words in (raw.valid, raw.test))
        self.weights = self.train = TextSplit(raw.train[:limit], raw.span, self.search)
