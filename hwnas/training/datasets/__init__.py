"""A data set becomes images or text in memory, or images that stay on disk. One file a data set; downloads nothing."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.training.datasets._source import Source


@dataclass(frozen=True)
class Images:
    """`pixels`: uint8 [n, channels, height, width]; `labels`: int64 [n]."""

    pixels: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != np.uint8 or len(self.pixels) != len(self.labels):
            raise BadInput(
                f"images must be uint8 [n, channels, height, width] with one label each, not "
                f"{self.pixels.dtype} {list(self.pixels.shape)} with {len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Images":
        return Images(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class RawData:
    """What a data set gives: `flip`, whether a mirrored image is still of its class."""

    train: Images
    test: Images
    class_names: tuple[str, ...]
    flip: bool


@dataclass(frozen=True)
class RawStream:
    """As `RawData`, of images that stay on disk. `workers`: processes that read them, 0 for one a core. `skip_corrupt`:
    count what cannot be read; else the first one ends the run."""

    train: Source
    test: Source
    class_names: tuple[str, ...]
    flip: bool
    workers: int
    skip_corrupt: bool


@dataclass(frozen=True)
class RawText:
    """Word numbers of three texts, int64 [n] each, and the word that each number stands for. `span`: words of a window;
    back-propagation goes no further (Zaremba et al. 2014, arXiv:1409.2329, and DARTS: 35)."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    words: tuple[str, ...]
    span: int = 35

    def __post_init__(self) -> None:
        for text in (self.train, self.valid, self.test):
            if text.ndim != 1 or text.dtype != np.int64 or not len(text):
                raise BadInput(f"a text must be int64 [n] of word numbers, not {text.dtype} {list(text.shape)}")
            if not 0 <= text.min() <= text.max() < len(self.words):
                raise BadInput(
                    f"a text holds word numbers from {text.min()} to {text.max()}, of {len(self.words)} words"
                )


class Dataset(ABC):
    Settings: ClassVar[type[Settings]]
    recipe: ClassVar[dict[str, dict[str, Any]]] = {}
    """What suits it better than the general defaults, for the sections `search` and `training`; users override it."""

    @abstractmethod
    def __init__(self, settings: Any) -> None: ...

    @abstractmethod
    def load(self, resolution: int) -> RawData | RawStream | RawText:
        """`resolution` is what the network will see; images of one size may be returned as they are.

        Raises BadInput when the data is missing or half there, saying which file.
        """


def require(folder: Path | None, name: str, what: str) -> Path:
    """The data folder. Raises BadInput when it was not given or is not there."""
    if folder is None:
        raise BadInput(f"data '{name}' needs a folder", f"--data-dir DIR, where DIR holds {what}")
    if not folder.is_dir():
        raise BadInput(f"there is no data folder {folder}", f"--data-dir DIR, where DIR holds {what}")
    return folder
