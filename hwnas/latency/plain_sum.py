"""The model of an imported table: nothing was measured whole, so the published numbers are summed as they stand.

A published table may time what all networks have in common as one number, `Space.part_of`; then that number is counted
once, and operators in it that have no time of their own count nothing more.
"""

from functools import cached_property

import numpy as np

from hwnas.core.budget import Statistic
from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.latency.model import LatencyModel, no_time
from hwnas.latency.table import LatencyTable
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space


class PlainSum(LatencyModel):
    """No correction, and a margin of 1: nothing is known of its error. Raises BadInput for a p90, which is unknown."""

    def __init__(self, space: Space, table: LatencyTable, statistic: Statistic = "median") -> None:
        if statistic != "median":
            raise BadInput(
                f"the table of '{table.target.name}' was imported and holds no percentiles",
                "give the --budget without @p90",
            )
        self.space, self.table, self.statistic = space, table, statistic
        self.additive = self.raw = published_sum(space, table)

    @property
    def is_sum(self) -> bool:
        return True

    @cached_property
    def margin(self) -> float:
        return 1.0


def published_sum(space: Space, table: LatencyTable) -> Additive:
    """Raises BadInput naming the first operator that the table neither times nor says to leave out."""
    values, wholes = [], set[OpSpec]()
    for conditional in space.operators():
        entry, whole = table.entries.get(str(conditional.spec)), space.part_of(conditional.spec)
        if entry is None and whole is None:
            raise no_time(table, conditional.spec)
        if entry is None and whole is not None:
            wholes.add(whole)
        values.append(entry.median_ms if entry else 0.0)
    return Additive(space, np.array(values), sum(_time_of(whole, table) for whole in wholes))


def _time_of(whole: OpSpec, table: LatencyTable) -> float:
    """0 for what the table's authors left out: `table.origin` says so wherever the sum is shown."""
    if table.imported and whole.kind in table.imported.left_out:
        return 0.0
    entry = table.entries.get(str(whole))
    if entry is None:
        raise no_time(table, whole)
    return entry.median_ms


def model_of(space: Space, table: LatencyTable, statistic: Statistic = "median") -> LatencyModel:
    """The latency model that fits the table. Raises BadInput as the model does."""
    return (PlainSum if table.imported else LatencyModel)(space, table, statistic)
