"""Look the accuracy up in a published table: a search that took days replays in seconds.

The file is an npz (without pickles) or a JSON object of arrays, one row a network:
- `archs` (its name is a setting): [networks, choices] option indices, in the order of the space's choices and options;
- the column asked for: [networks] accuracies, or [networks, seeds], of which the mean is taken; a seed that was not run
  is NaN, a network without any number is an error when it is asked for, never a default;
- optionally a column of training seconds, of which a search spends the share `seconds_share` on each network.

    --set estimator.name=tabular estimator.path=nb201.npz estimator.archs=op_index \\
    --set estimator.column=c10_valid_acc_12ep estimator.unit=percent
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.arrays import Arrays, rows_of
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.search.estimators import Estimator


class TabularSettings(Settings):
    path: Path | None = None
    archs: str = "archs"
    column: str = "accuracy"
    """Which epoch, split and seeds: the caller says. Never the test's column for a search."""
    unit: Literal["fraction", "percent"] = "fraction"
    seconds: str | None = None
    seconds_share: float = Field(default=1.0, gt=0)
    """12 epochs of a column of 200-epoch times are 0.06."""
    truth: str | None = None
    """The column by which what was found is judged when the search is over, in the same unit; it may be the test's.
    None: the column that was searched."""


class Tabular(Estimator):
    """`means` needs only a `space`. Raises BadInput for a file that does not fit it."""

    Settings = TabularSettings
    looks_up = True

    def __init__(self, means: Any, settings: TabularSettings) -> None:
        if settings.path is None:
            raise BadInput("the tabular estimator reads a published table", "--set estimator.path=FILE")
        self.settings, self.means = settings, means
        arrays = Arrays(settings.path)
        self._rows = rows_of(arrays, settings.archs, means.space)
        self._accuracy = self._column(arrays, settings.column) / {"fraction": 1.0, "percent": 100.0}[settings.unit]
        self._seconds = None if settings.seconds is None else self._column(arrays, settings.seconds)

    def accuracy(self, arch: Arch) -> float:
        found = self._at(self._accuracy, arch, self.settings.column)
        if not 0 <= found <= 1:
            what = f"{self.settings.path}: '{self.settings.column}' of {list(arch)} is {found:g}, which is no fraction"
            raise BadInput(what, "--set estimator.unit=percent" if found > 1 else "")
        return found

    def seconds(self, arch: Arch) -> float:
        """What training this network would have taken, simulated. Raises BadInput without a column of times."""
        if self._seconds is None:
            raise BadInput("no column of training times was named", "--set estimator.seconds=COLUMN")
        return self._at(self._seconds, arch, str(self.settings.seconds)) * self.settings.seconds_share

    def truth(self) -> "Tabular":
        """By the column that no search may see. Only for when all of them are over."""
        return Tabular(
            self.means, self.settings.model_copy(update={"column": self.settings.truth or self.settings.column})
        )

    def best(self, archs: Iterable[Arch]) -> Arch | None:
        """The most accurate of `archs`, as far as the table has them."""
        found = {arch: self._accuracy[self._rows[arch]] for arch in archs if arch in self._rows}
        return max((a for a in found if np.isfinite(found[a])), key=lambda a: found[a], default=None)

    def _at(self, column: np.ndarray, arch: Arch, name: str) -> float:
        row = self._rows.get(arch)
        if row is None or not np.isfinite(column[row]):
            raise BadInput(f"{self.settings.path} has no '{name}' of {list(arch)}", "search only what the table holds")
        return float(column[row])

    def _column(self, arrays: Arrays, name: str) -> np.ndarray:
        """[networks]: the mean over seeds that were run; NaN where none was."""
        found = arrays.numbers(name)
        if found.ndim not in (1, 2) or len(found) != len(self._rows):
            what = f"{self.settings.path}: '{name}' has the shape {list(found.shape)} for {len(self._rows)} networks"
            raise BadInput(what)
        if found.ndim == 1:
            return found
        ran = np.isfinite(found)
        total = np.where(ran, found, 0.0).sum(axis=1)
        return np.where(ran.any(axis=1), total / np.maximum(ran.sum(axis=1), 1), np.nan)
