"""A space on paper: choices and conditional operators with invented milliseconds, and no networks.

Strategies, projections and latency models can be tried on it in milliseconds.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
from torch import Tensor, nn

from hwnas.core.arch import Arch, Choice
from hwnas.core.config import NoSettings
from hwnas.core.seeds import stream
from hwnas.core.target import Target
from hwnas.latency.fingerprint import Fingerprint
from hwnas.latency.model import LatencyModel, space_key
from hwnas.latency.protocol import Protocol
from hwnas.latency.table import Calibration, Entry, HeldOutError, LatencyTable, MeasuredNetwork
from hwnas.operators.opspec import OpSpec
from hwnas.search.problem import Problem
from hwnas.search.projection import extreme
from hwnas.spaces import Conditional, Space

When = tuple[tuple[int, int], ...]
_MEASURED = 24


class PaperSpace(Space):
    """`widths`: options a choice; `conditions`: one operator each; `allowed`: which tuples are architectures."""

    Settings = NoSettings

    def __init__(
        self, widths: Sequence[int], conditions: Sequence[When], allowed: Callable[[Arch], bool] = lambda arch: True
    ) -> None:
        self.choices = tuple(Choice(f"choice{i}", tuple(f"option{o}" for o in range(w))) for i, w in enumerate(widths))
        self.input_shape = (1, 1, 1)
        self._allowed = allowed
        self._operators = tuple(
            Conditional(OpSpec.of("paper", (1, 1, 1), number=i), when) for i, when in enumerate(conditions)
        )

    def operators(self) -> tuple[Conditional, ...]:
        return self._operators

    def valid(self, arch: Arch) -> bool:
        return super().valid(arch) and self._allowed(arch)

    def random(self, rng: Random) -> Arch:
        return self._first_valid(lambda: super(PaperSpace, self).random(rng))

    def mutate(self, arch: Arch, rng: Random, probability: float) -> Arch:
        return self._first_valid(lambda: super(PaperSpace, self).mutate(arch, rng, probability))

    def crossover(self, mother: Arch, father: Arch, rng: Random) -> Arch:
        return self._first_valid(lambda: super(PaperSpace, self).crossover(mother, father, rng))

    def _first_valid(self, draw: Callable[[], Arch]) -> Arch:
        return next(arch for arch in iter(draw, None) if self.valid(arch))

    def reference(self) -> Arch:
        return self.random(Random(0))

    def baseline(self) -> Space | None:
        return None

    def build(self, arch: Arch) -> nn.Module:
        raise NotImplementedError("a paper space has no networks")

    def supernet(self) -> nn.Module:
        raise NotImplementedError("a paper space has no networks")

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        raise NotImplementedError("a paper space has no networks")


def one_operator_an_option(widths: Sequence[int]) -> list[When]:
    return [((choice, option),) for choice, width in enumerate(widths) for option in range(width)]


def paper_table(
    space: Space, ms: Sequence[float], measure: Callable[[float, int], float] | None = None
) -> LatencyTable:
    """A table with one time an operator. `measure(sum of operators, their number)` → the ms of a whole network; the
    plain sum unless given, so that the model predicts the sum of `ms`."""
    measure = measure or (lambda total, number: total)
    price = {str(c.spec): float(value) for c, value in zip(space.operators(), ms, strict=True)}
    rng = stream(0, "paper")
    archs = sorted({space.random(rng) for _ in range(_MEASURED)})
    networks = [
        _network(arch, measure(sum(price[str(s)] for s in space.ops(arch)), len(space.ops(arch)))) for arch in archs
    ]
    error = HeldOutError(networks=0, mean=0, max=0, within_5=1, within_10=1, spearman=1, noise_floor=0)
    protocol = Protocol()
    return LatencyTable(
        target=Target(name="paper", runtime="paper"),
        fingerprint=Fingerprint(identity={}, recorded={}),
        protocol=protocol,
        protocol_sha256=protocol.digest(),
        entries={key: _entry(value) for key, value in price.items()},
        calibration={space_key(space): Calibration(fitted=networks, held_out=[], error=error, measured_at="never")},
    )


def paper_problem(space: Space, ms: Sequence[float], tightness: float, seed: int = 0) -> Problem:
    """`tightness`: 1 leaves the cheapest network only, 0 any."""
    latency = LatencyModel(space, paper_table(space, ms))
    low, high = (latency.predict_p95(extreme(space, latency.additive, cheapest=end)) for end in (True, False))
    return Problem(space, latency, (low + (1 - tightness) * (high - low)) * (1 + 1e-9), seed)


def _entry(ms: float) -> Entry:
    return Entry(median_ms=ms, p10_ms=ms, p90_ms=ms, samples=1, rounds=1, stable=True, measured_at="never")


def _network(arch: Arch, ms: float) -> MeasuredNetwork:
    facts: dict[str, Any] = {"median_ms": ms, "p90_ms": ms}
    return MeasuredNetwork(arch=arch, **facts)


def prices(count: int, seed: int) -> list[float]:
    """Milliseconds between 0.1 and 2."""
    return np.random.default_rng(seed).uniform(0.1, 2.0, count).tolist()
