"""Fashion-MNIST (arXiv:1708.07747) from its four idx.gz files; plain MNIST files have the same form."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.training.datasets import Dataset, Images, RawData, require

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


_MOST_BYTES = 256 << 20
"""Unpacked; the largest file of this form, a training set's images, has 45 MiB. A small one may unpack to anything."""


class FashionMnistSettings(Settings):
    dir: Path | None = None


class FashionMnist(Dataset):
    Settings = FashionMnistSettings

    def __init__(self, settings: FashionMnistSettings) -> None:
        self.folder = require(settings.dir, "fashion-mnist", "train-images-idx3-ubyte.gz and its three companions")

    def load(self, resolution: int) -> RawData:
        return RawData(self._part("train"), self._part("t10k"), CLASSES, flip=True)

    def _part(self, prefix: str) -> Images:
        pixels = read_idx(self.folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(self.folder / f"{prefix}-labels-idx1-ubyte.gz")
        if pixels.ndim != 3 or labels.ndim != 1 or not 0 < len(pixels) == len(labels) or labels.max() >= len(CLASSES):
            raise BadInput(f"{self.folder}: the {prefix} images and labels do not belong together")
        return Images(pixels[:, None], labels.astype(np.int64))


def read_idx(path: Path) -> np.ndarray:
    """A gzipped idx file of unsigned bytes. Raises BadInput when it is missing, torn, too large or of another type."""
    try:
        with gzip.open(path) as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError(f"it unpacks to more than {_MOST_BYTES >> 20} MiB")
        zeros, kind, dimensions = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
        if zeros != 0 or kind != 0x08:
            raise ValueError("not an idx file of unsigned bytes")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()
    except FileNotFoundError as error:
        raise BadInput(f"{path} is missing") from error
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise BadInput(f"{path} is damaged: {error}", "fetch the file again") from error
