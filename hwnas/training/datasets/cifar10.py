"""CIFAR-10 (Krizhevsky 2009): the binary version, or the python version's batches read without unpickling code."""

from pathlib import Path

import numpy as np

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.training.datasets import Dataset, Images, RawData, _plain_pickle, require

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32


class Cifar10Settings(Settings):
    dir: Path | None = None


class Cifar10(Dataset):
    Settings = Cifar10Settings

    def __init__(self, settings: Cifar10Settings) -> None:
        self.folder = require(settings.dir, "cifar10", "cifar-10-batches-bin or cifar-10-batches-py")

    def load(self, resolution: int) -> RawData:
        train = [self._batch(f"data_batch_{i}") for i in range(1, 6)]
        joined = Images(np.concatenate([b.pixels for b in train]), np.concatenate([b.labels for b in train]))
        return RawData(joined, self._batch("test_batch"), CLASSES, flip=True)

    def _batch(self, name: str) -> Images:
        folders = [self.folder, self.folder / "cifar-10-batches-bin", self.folder / "cifar-10-batches-py"]
        for folder in folders:
            if (folder / f"{name}.bin").is_file():
                return read_binary(folder / f"{name}.bin")
            if (folder / name).is_file():
                return read_python(folder / name)
        raise BadInput(f"{self.folder} has neither {name}.bin nor {name}", "fetch and unpack CIFAR-10 again")


def read_binary(path: Path) -> Images:
    """Records of a label byte and 3072 pixel bytes, channels first."""
    data = np.fromfile(path, np.uint8)
    if len(data) == 0 or len(data) % RECORD:
        raise BadInput(f"{path} is damaged: {len(data)} bytes are no whole records of {RECORD}", "fetch it again")
    records = data.reshape(-1, RECORD)
    return _images(records[:, 1:], records[:, 0], path)


def read_python(path: Path) -> Images:
    """The python version is a pickle: only plain containers, bytes and byte arrays are allowed in it."""
    try:
        content = _plain_pickle.loads(path.read_bytes())
        return _images(content[b"data"].array(), np.asarray(content[b"labels"], np.int64), path)
    except _plain_pickle.UNREADABLE as error:
        raise BadInput(f"{path} is not a CIFAR-10 batch: {error}", "fetch it again") from error


def _images(pixels: np.ndarray, labels: np.ndarray, path: Path) -> Images:
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise BadInput(f"{path} is damaged: its labels go from {labels.min()} to {labels.max()}", "fetch it again")
    return Images(pixels.reshape(-1, 3, 32, 32), labels.astype(np.int64))
