"""Named arrays from a file that others published: npz without pickles, or JSON."""

import json
import zipfile
from pathlib import Path

import numpy as np

from hwnas.core.arch import Arch, ArchSpace
from hwnas.core.errors import BadInput

_MOST_UNPACKED = 1 << 30
_DAMAGED = (ValueError, TypeError, AttributeError, EOFError, MemoryError, zipfile.BadZipFile)
"""MemoryError: a header may claim an array of any size."""
_KINDS = {"biuf": "numbers", "iu": "numbers", "SU": "names"}
"""numpy's letters for kinds of content."""


class Arrays:
    """`.npz` as numpy's savez writes it, or `.json` holding an object of (nested) lists of numbers.

    Raises BadInput for a file that is missing, damaged, holds pickled objects or lacks the array asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._arrays = _read_json(path) if path.suffix == ".json" else _read_npz(path)
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror or error}") from error
        except _DAMAGED as error:
            raise BadInput(f"{path} holds no named arrays of numbers: {' '.join(str(error).split())[:200]}") from error

    def numbers(self, name: str) -> np.ndarray:
        """As float64."""
        return self._array(name, "biuf").astype(np.float64)

    def indices(self, name: str) -> np.ndarray:
        """[rows, columns] of whole numbers."""
        found = self._array(name, "iu").astype(np.int64)
        if found.ndim != 2:
            raise BadInput(f"{self.path}: '{name}' must be a table of two dimensions, not {found.ndim}")
        return found

    def texts(self, name: str) -> list[str]:
        found = self._array(name, "SU")
        return [text.decode() if isinstance(text, bytes) else str(text) for text in found.ravel().tolist()]

    def _array(self, name: str, kinds: str) -> np.ndarray:
        if name not in self._arrays:
            raise BadInput(f"{self.path} has no '{name}'", f"it has: {', '.join(sorted(self._arrays))}")
        if self._arrays[name].dtype.kind not in kinds:
            raise BadInput(f"{self.path}: '{name}' holds {self._arrays[name].dtype}, not {_KINDS[kinds]}")
        return self._arrays[name]


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as packed:
        if sum(member.file_size for member in packed.infolist()) > _MOST_UNPACKED:
            raise ValueError(f"it unpacks to more than {_MOST_UNPACKED >> 30} GiB")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_json(path: Path) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in json.loads(path.read_text()).items()}


def rows_of(arrays: Arrays, name: str, space: ArchSpace) -> dict[Arch, int]:
    """Architecture → its row. Raises BadInput when a row is no architecture of the space, or is there twice."""
    rows: dict[Arch, int] = {}
    for number, arch in enumerate(map(tuple, arrays.indices(name).tolist())):
        if not space.valid(arch):
            raise BadInput(f"{arrays.path}: row {number} of '{name}', {list(arch)}, is no architecture of this space")
        if rows.setdefault(arch, number) != number:
            raise BadInput(f"{arrays.path}: {list(arch)} is in the rows {rows[arch]} and {number} of '{name}'")
    return rows
