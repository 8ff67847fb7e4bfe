"""Text as batches for truncated back-propagation through time: windows of a few words, in rows side by side.

Three disjoint splits: the training text trains weights, the validation text guides the search (as in ENAS and DARTS,
whose controller and α learn from it) and tells when to average, the test text is read once.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hwnas.core.errors import BadInput
from hwnas.spaces import Window
from hwnas.training.data import Batch, Data, Split
from hwnas.training.datasets import RawText

SPAN = 35
"""Words of a window: back-propagation goes no further (Zaremba et al. 2014, arXiv:1409.2329; DARTS: 35)."""
_ROWS = 16
"""Side by side in a judgement; each row starts without a memory."""


class TextSplit(Split):
    """`words`: int64 [n]."""

    def __init__(self, words: np.ndarray, guide: Split | None = None) -> None:
        self.words, self.guide = torch.from_numpy(words), guide

    def __len__(self) -> int:
        """Windows, where each epoch begins up to a window later than the text."""
        return max(0, (len(self.words) - 1) // SPAN - 1)

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """`batch_size` rows. It begins anywhere in the first window, so that windows end elsewhere each time."""
        count = len(self) // batch_size
        if count == 0:
            what = f"a text of {len(self.words)} words is too short for {batch_size} rows of {SPAN}"
            raise BadInput(what, "a smaller batch_size")
        start = int(torch.randint(SPAN, (1,), generator=generator))
        noise = int(torch.randint(2**62, (1,), generator=generator))
        yield from windows(self.words[start : start + batch_size * count * SPAN + 1], batch_size, noise)

    def plain(self) -> Iterator[Batch]:
        yield from windows(self.words[: self.samples + 1], self._rows, 0)

    @property
    def samples(self) -> int:
        """All words but the first, up to what does not fill the rows."""
        return (len(self.words) - 1) // self._rows * self._rows

    @property
    def _rows(self) -> int:
        return min(_ROWS, max(1, len(self.words) - 1))

    def first(self, count: int) -> Window:
        return Window(self.words[None, :count])

    def spread(self, count: int) -> Window:
        """The first ones: they are to follow one another."""
        return self.first(count)


def windows(words: Tensor, rows: int, noise: int) -> Iterator[Batch]:
    """`words`: [rows · length + 1] → windows over [rows, length], each with the words that follow, [rows · span]."""
    read, next_ones = words[:-1].view(rows, -1), words[1:].view(rows, -1)
    states: dict[int, Tensor] = {}
    for number, place in enumerate(range(0, read.shape[1], SPAN)):
        part = slice(place, place + SPAN)
        yield Window(read[:, part], number, noise + number, states), next_ones[:, part].flatten()


class TextData(Data):
    """Final networks train on the training text alone: the validation text tells when to average."""

    def __init__(self, raw: RawText, limit: int | None = None) -> None:
        """`limit`: use only so many training words."""
        self.class_names, self.channels = raw.words, 0
        self.search, self._test = TextSplit(raw.valid), TextSplit(raw.test)
        self.weights = self.train = TextSplit(raw.train[:limit], self.search)

    def preprocessing(self) -> dict[str, object]:
        return {"words": list(self.class_names)}

    def metadata(self) -> dict[str, str]:
        return {"words": "\n".join(self.class_names)}
