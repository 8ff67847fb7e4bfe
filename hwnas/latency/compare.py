"""Two tables side by side: what only one holds, and how the times of the operators in both differ."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwnas.latency.table import Entry, LatencyTable

_SHOWN = 10


@dataclass(frozen=True)
class Difference:
    """`ratios`: time in b / time in a, by operator, the most different first. `beyond`: the share of them whose medians
    each lie outside the other's p10 to p90; None where a table has no percentiles. `errors`: by table and space, the
    model's mean held-out error and noise floor, relative.
    """

    only_a: list[str]
    only_b: list[str]
    ratios: dict[str, float]
    beyond: float | None
    errors: dict[str, dict[str, dict[str, float]]]

    @property
    def median(self) -> float | None:
        return float(np.median(list(self.ratios.values()))) if self.ratios else None

    @property
    def largest(self) -> float | None:
        """The ratio furthest from 1, up or down."""
        return next(iter(self.ratios.values()), None)

    def facts(self) -> dict[str, Any]:
        return asdict(self) | {"median": self.median, "largest": self.largest}

    def text(self) -> str:
        lines = [f"operators: {len(self.ratios)} in both, {len(self.only_a)} only in a, {len(self.only_b)} only in b"]
        if self.median is not None and self.largest is not None:
            lines.append(f"time in b / time in a: median {self.median:.3f}, furthest from 1 {self.largest:.3f}")
            noise = "unknown, a table was imported" if self.beyond is None else f"{100 * self.beyond:.1f} %"
            lines.append(f"differ beyond the noise (each median outside the other's p10 to p90): {noise}")
            lines += [f"{ratio:10.3f}  {key}" for key, ratio in list(self.ratios.items())[:_SHOWN]]
        for side, errors in self.errors.items():
            for space, error in errors.items():
                lines.append(
                    f"model error in {side}, {space}: mean {100 * error['mean']:.1f} %, "
                    f"noise floor {100 * error['noise_floor']:.1f} %"
                )
        return "\n".join(lines)


def compare(a: LatencyTable, b: LatencyTable) -> Difference:
    ratios = {key: b.entries[key].median_ms / a.entries[key].median_ms for key in a.entries.keys() & b.entries.keys()}
    ordered = sorted(ratios, key=lambda key: (-abs(np.log(ratios[key])), key))
    differing = [_differ(a.entries[key], b.entries[key]) for key in ordered]
    known = ordered and not a.imported and not b.imported
    return Difference(
        only_a=sorted(a.entries.keys() - b.entries.keys()),
        only_b=sorted(b.entries.keys() - a.entries.keys()),
        ratios={key: ratios[key] for key in ordered},
        beyond=sum(differing) / len(differing) if known else None,
        errors={"a": _errors(a), "b": _errors(b)},
    )


def _differ(a: Entry, b: Entry) -> bool:
    return not b.p10_ms <= a.median_ms <= b.p90_ms and not a.p10_ms <= b.median_ms <= a.p90_ms


def _errors(table: LatencyTable) -> dict[str, dict[str, float]]:
    return {
        space: {"mean": calibration.error.mean, "noise_floor": calibration.error.noise_floor}
        for space, calibration in table.calibration.items()
    }
