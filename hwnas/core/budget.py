"""The latency budget: `12ms`, `12ms@p90`, or `60%` of the reference network."""

import re
from dataclasses import dataclass
from typing import Literal

from hwnas.core.errors import BadInput

Statistic = Literal["median", "p90"]

_MILLISECONDS = re.compile(r"(-?[0-9.eE+-]+)\s*ms(?:@(p50|median|p90))?")
_PERCENT = re.compile(r"(-?[0-9.eE+-]+)\s*%(?:@(p50|median|p90))?")


@dataclass(frozen=True)
class Budget:
    """Either absolute (`ms`) or relative to the reference network (`fraction`), on one statistic."""

    ms: float | None
    fraction: float | None
    statistic: Statistic

    def resolve_ms(self, reference_ms: float) -> float:
        """Milliseconds, given the reference network's latency by the same statistic."""
        if self.ms is not None:
            return self.ms
        assert self.fraction is not None
        return self.fraction * reference_ms

    def __str__(self) -> str:
        suffix = "" if self.statistic == "median" else f"@{self.statistic}"
        return f"{self.ms:g}ms{suffix}" if self.ms is not None else f"{100 * (self.fraction or 0):g}%{suffix}"


def parse_budget(text: str) -> Budget:
    """Raises BadInput for anything but a positive number of ms or per cent."""
    if match := _MILLISECONDS.fullmatch(text.strip()):
        return Budget(_positive(match[1], text), None, _statistic(match[2]))
    if match := _PERCENT.fullmatch(text.strip()):
        return Budget(None, _positive(match[1], text) / 100, _statistic(match[2]))
    raise BadInput(f"budget '{text}' is not a latency", "write it as 12ms, 12ms@p90 or 60% (of the reference)")


def _positive(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise BadInput(f"budget '{text}' must be a positive number", "write it as 12ms, 12ms@p90 or 60%")
    return value


def _statistic(name: str | None) -> Statistic:
    return "p90" if name == "p90" else "median"
