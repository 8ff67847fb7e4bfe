"""Learning curves, trained only as far as somebody looks, and found again by whoever looks next.

A network's training is the same whoever watches: the same weights at first, the same batches, the schedule of all
epochs. So a curve that is known on disk is not trained again, and one that was killed goes on from its checkpoint.
"""

from collections.abc import Generator
from time import monotonic
from typing import NamedTuple

from hwnas.core.arch import Arch
from hwnas.core.journal import Record
from hwnas.core.seeds import derive
from hwnas.search.estimators import Means
from hwnas.search.estimators._scratch import fresh
from hwnas.training.network import Diverged, score, train_by_epoch


class Point(NamedTuple):
    """After one more epoch: the fraction right of the batches trained on, the score on the search split; `seconds` it
    took."""

    training: float
    search: float
    seconds: float


class Curves:
    """`epochs`: of the whole schedule. Kept in `means.checkpoints`."""

    def __init__(self, means: Means, epochs: int) -> None:
        self.means = means
        self.recipe = means.recipe.model_copy(update={"epochs": epochs})
        self.journal = means.device.ranks.journal(means.checkpoints / f"curves-{epochs}.jsonl")
        self.known: dict[Arch, list[Point]] = {}
        self._learn(self.journal.records)
        self.seconds_found = 0.0

    def _learn(self, records: list[Record]) -> None:
        for r in records:
            point = Point(r["training"], r["search"], r["spent_seconds"])
            self.known.setdefault(tuple(r["arch"]), []).append(point)

    def of(self, arch: Arch) -> Generator[Point, None, None]:
        """Leaving the loop stops the training."""
        self._learn(self.journal.refresh())  # other workers'
        known = self.known.setdefault(arch, [])
        for point in list(known):
            self.seconds_found += point.seconds
            yield point
        if len(known) < self.recipe.epochs:
            yield from self._train(arch, known)

    def _train(self, arch: Arch, known: list[Point]) -> Generator[Point, None, None]:
        m, start = self.means, monotonic()
        path = m.checkpoints / f"{'.'.join(map(str, arch))}-{self.recipe.epochs}.safetensors"
        network, seed = fresh(m, m.space, arch), derive(m.seed, "early stop")
        epochs = train_by_epoch(network, m.data.weights, self.recipe, m.device, seed, "train a network", path, m.loss)
        try:
            for epoch in epochs:
                if epoch.number > len(known):
                    found = score(network, m.data.search, m.device)
                    point = Point(epoch.training_accuracy, found, monotonic() - start)
                    facts = {"epoch": epoch.number, "training": point.training, "search": point.search}
                    self.journal.append("epoch", arch=list(arch), **facts, spent_seconds=point.seconds)
                    known.append(point)
                    yield point
                start = monotonic()
        except (GeneratorExit, Diverged):
            path.unlink(missing_ok=True)  # nobody wants the rest
            raise
        path.unlink(missing_ok=True)
