"""Estimators that train a network epoch by epoch, and decide by those before it whether to go on."""

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.progress import warn
from hwnas.core.seeds import derive
from hwnas.search.estimators import Estimator, Means
from hwnas.search.estimators._curves import Curves, Point
from hwnas.training.network import Diverged


class WatchedSettings(Settings):
    epochs: int | None = Field(default=None, ge=1)
    """Of a full training. None: the recipe's."""


@dataclass(frozen=True)
class Judged:
    """A network's answer, after so many epochs of its own."""

    arch: Arch
    epochs: int
    accuracy: float
    interval_90: tuple[float, float] | None = None


class Watched(Estimator):
    """What was decided is in a journal of its own in `means.checkpoints`, so that decisions are never made again."""

    Settings = WatchedSettings
    learns = True

    def __init__(self, means: Means, settings: Any) -> None:
        self.means, self.settings = means, settings
        self.full = settings.epochs or means.recipe.epochs
        self.curves = Curves(means, self.full)
        name = f"{type(self).__name__.lower()}-{derive(means.seed, settings.model_dump_json()):016x}"
        self.journal = means.device.ranks.journal(means.checkpoints / f"{name}.jsonl")
        self.judged = {j.arch: j for j in map(_judged, self.journal.of("judged"))}

    @abstractmethod
    def stops(self, arch: Arch, curve: list[Point]) -> bool:
        """Asked before every epoch, the first included."""

    def estimate(self, arch: Arch, curve: list[Point]) -> Judged:
        """Of one that was stopped."""
        return Judged(arch, len(curve), curve[-1].search)

    def accuracy(self, arch: Arch) -> float:
        self.judged |= {j.arch: j for j in map(_judged, self.journal.refresh())}
        if arch not in self.judged:
            judged = self._judge(arch)
            self.journal.append("judged", **asdict(judged))
            self.judged[arch] = judged
        return self.judged[arch].accuracy

    def _judge(self, arch: Arch) -> Judged:
        curve: list[Point] = []
        points = self.curves.of(arch)
        while len(curve) < self.full:
            if self.stops(arch, curve):
                points.close()
                return self.estimate(arch, curve)
            try:
                curve.append(next(points))
            except Diverged as error:  # some recurrent cells do: one of them is no reason to end a search
                warn(f"{error.what}; it counts as 0 % right")
                return Judged(arch, len(curve), 0.0)
        points.close()
        return Judged(arch, len(curve), curve[-1].search)

    @property
    def complete(self) -> list[Judged]:
        """Those trained to the end."""
        return [judged for judged in self.judged.values() if judged.epochs == self.full]

    def curve_of(self, judged: Judged) -> list[Point]:
        """As far as it was looked at."""
        return self.curves.known[judged.arch][: judged.epochs]

    def interval_90(self, arch: Arch) -> tuple[float, float] | None:
        return self.judged[arch].interval_90

    def epochs(self, queries: int) -> int:
        return sum(judged.epochs for judged in self.judged.values())

    @property
    def seconds_found(self) -> float:  # type: ignore[override]
        return self.curves.seconds_found


def _judged(record: dict[str, Any]) -> Judged:
    interval = record["interval_90"]
    return Judged(
        tuple(record["arch"]), record["epochs"], record["accuracy"], None if interval is None else tuple(interval)
    )
