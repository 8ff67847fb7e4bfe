"""The winner and the reference drawn to scale: a strip each, one segment a block, its width its milliseconds."""

from dataclasses import dataclass
from math import floor, log10

from hwnas.core.arch import Arch
from hwnas.report.blocks import CALL, Block, blocks
from hwnas.report.data import RunData

_SHADES = ("#d7e6f2", "#9cc4e0", "#2f78ae", "#174a77")
_FIXED, _REST = "#e4e1da", "#f3f1ec"


@dataclass(frozen=True)
class Segment:
    """`left`, `width`: % of the drawing. A skipped block has no width."""

    block: Block
    left: float
    width: float
    color: str
    dark: bool

    @property
    def title(self) -> str:
        what = "skipped" if self.block.skipped else f"{self.block.ms:.4g} ms"
        return " ".join(part for part in (self.block.name, self.block.option, what) if part)


@dataclass(frozen=True)
class Strip:
    role: str
    predicted_ms: float
    segments: list[Segment]


@dataclass(frozen=True)
class Drawing:
    """`ticks`: (% of the drawing, label)."""

    strips: list[Strip]
    ticks: list[tuple[float, str]]
    budget: float | None
    kernels: list[tuple[int, str]]

    @property
    def table(self) -> list[tuple[Block, Block]]:
        """Block by block, the winner's beside the reference's."""
        first, second = ([segment.block for segment in strip.segments] for strip in self.strips)
        return list(zip(first, second, strict=True))


def draw(run: RunData) -> Drawing:
    """Raises BadInput when the run's latency table is gone or another."""
    model = run.latency
    archs: dict[str, Arch] = {"winner": run.winner, "reference": model.space.reference()}
    found = {role: blocks(model, arch) for role, arch in archs.items()}
    kernels = sorted({b.kernel for bs in found.values() for b in bs if b.chosen and b.kernel is not None})
    shades = {kernel: _SHADES[min(i, len(_SHADES) - 1)] for i, kernel in enumerate(kernels)}
    budget_ms = run.budget_predicted_ms
    end_ms = 1.02 * max(budget_ms or 0, *(sum(max(b.ms, 0) for b in bs) for bs in found.values()))
    return Drawing(
        strips=[Strip(role, model.predict(archs[role]), _segments(bs, end_ms, shades)) for role, bs in found.items()],
        ticks=[(100 * ms / end_ms, f"{ms:g}") for ms in _ticks(end_ms)],
        budget=None if budget_ms is None or budget_ms > end_ms else 100 * budget_ms / end_ms,
        kernels=list(shades.items()),
    )


def _segments(found: list[Block], end_ms: float, shades: dict[int, str]) -> list[Segment]:
    segments, left = [], 0.0
    for block in found:
        width = 100 * max(block.ms, 0) / end_ms
        color = shades.get(block.kernel or 0, _SHADES[0]) if block.chosen else _REST if block.name == CALL else _FIXED
        segments.append(Segment(block, left, width, color, dark=color in _SHADES[2:]))
        left += width
    return segments


def _ticks(end_ms: float) -> list[float]:
    """Round numbers, at most six, from zero."""
    power = 10 ** floor(log10(end_ms / 5))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * 5 >= end_ms)
    return [round(i * step, 12) for i in range(int(end_ms / step) + 1)]
