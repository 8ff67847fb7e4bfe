"""Image files by the million: their names in one string, some thirty bytes a file. A folder is listed without a look at
its files, and not again while it has not changed: adding, removing and renaming files changes the folder's own date.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch.utils.data import Dataset

from hwnas.core.errors import BadInput
from hwnas.core.progress import Progress
from hwnas.training.datasets._index import index_file, keep
from hwnas.training.datasets._pictures import SUFFIXES
from hwnas.training.datasets._source import CHUNK, Chunk, Reading, Source, chunk_of

_KIND = "files-1.npz"


@dataclass(frozen=True)
class FileIndex:
    """`names`: of all files, end to end, class after class; `ends` uint64 [n]: where each ends; `labels` int32 [n];
    `dates` int64 [classes]: of the folders, in ns."""

    names: bytes
    ends: np.ndarray
    labels: np.ndarray
    dates: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, number: int) -> bytes:
        return self.names[int(self.ends[number - 1]) if number else 0 : int(self.ends[number])]


def index_of(folder: Path, classes: Sequence[str]) -> FileIndex:
    """Of `folder`/<class>/*, in the order of the classes and of the names."""
    dates = np.array([(folder / name).stat().st_mtime_ns if (folder / name).is_dir() else 0 for name in classes])
    file = index_file(folder, _KIND)
    known = _known(file, classes, dates)
    if known is not None:
        return known
    listed, counts = [], []
    with Progress(f"list {folder.name} images", len(classes)) as progress:
        for name in classes:
            names = _images(folder / name)
            listed += [os.fsencode(name) for name in names]
            counts.append(len(names))
            progress.advance()
    ends = np.cumsum([len(name) for name in listed], dtype=np.uint64)
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
    found = FileIndex(b"".join(listed), ends, labels, dates)
    content = io.BytesIO()
    arrays = {"ends": ends, "labels": labels, "dates": dates, "names": np.frombuffer(found.names, np.uint8)}
    np.savez(content, classes=np.array(list(classes)), **arrays)
    keep(file, content.getvalue(), int(dates.max(initial=0)))
    return found


def _images(folder: Path) -> list[str]:
    """By their names alone: a folder may hold a million, and a look at each takes longer than the whole list."""
    if not folder.is_dir():
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES))
    except OSError as error:
        raise BadInput(f"cannot list {folder}: {error.strerror}") from error


def _known(file: Path, classes: Sequence[str], dates: np.ndarray) -> FileIndex | None:
    """None where the folder changed, or the file is not whole: it is only a cache."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            if kept["classes"].tolist() != list(classes) or not np.array_equal(kept["dates"], dates):
                return None
            names, ends, labels = kept["names"].tobytes(), kept["ends"], kept["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    whole = len(ends) == len(labels) and (len(ends) == 0 or int(ends[-1]) == len(names))
    return FileIndex(names, ends, labels, dates) if whole else None


@dataclass(frozen=True)
class Files(Source):
    """`chosen`: numbers in the index, ascending."""

    folder: Path
    classes: tuple[str, ...]
    index: FileIndex
    chosen: np.ndarray
    size: int

    @classmethod
    def of(cls, folder: Path, classes: tuple[str, ...], size: int) -> "Files":
        index = index_of(folder, classes)
        return cls(folder, classes, index, np.arange(len(index)), size)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def labels(self) -> np.ndarray:
        return self.index.labels[self.chosen]

    def classes_held(self) -> set[int]:
        return set(np.unique(self.labels).tolist())

    def shuffled(self, generator: torch.Generator) -> Reading:
        """As images in memory are."""
        return _FileReading(self, torch.randperm(len(self), generator=generator).numpy())

    def ordered(self) -> Reading:
        return _FileReading(self, np.arange(len(self)))

    def parted(self, first: int, seed: int) -> "tuple[Files, Files]":
        """Of all classes alike."""
        try:
            parts = train_test_split(self.chosen, train_size=first, random_state=seed % 2**32, stratify=self.labels)
        except ValueError as error:
            raise BadInput(f"the {len(self)} images of {self.folder} cannot be split into parts: {error}") from error
        a, b = (replace(self, chosen=np.sort(part)) for part in parts)
        return a, b

    def spread(self, count: int) -> "Files":
        evenly = np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)
        return replace(self, chosen=self.chosen[evenly])

    def read(self, places: np.ndarray) -> Chunk:
        """`places`: in `chosen`."""
        numbers = self.chosen[places].tolist()
        labels = self.index.labels[numbers].tolist()
        paths = [
            self.folder / self.classes[label] / os.fsdecode(self.index.name(number))
            for number, label in zip(numbers, labels, strict=True)
        ]
        return chunk_of(((path, label, str(path)) for path, label in zip(paths, labels, strict=True)), self.size)


class _FileReading(Dataset[Chunk]):
    def __init__(self, files: Files, order: np.ndarray) -> None:
        self.files, self.order = files, order

    def __len__(self) -> int:
        return -(-len(self.order) // CHUNK)

    def __getitem__(self, number: int) -> Chunk:
        return self.files.read(self.order[number * CHUNK : (number + 1) * CHUNK])
