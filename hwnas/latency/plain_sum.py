"""The model of an imported table: nothing was measured whole, so the published numbers are summed as they stand."""

from functools import cached_property

from hwnas.core.budget import Statistic
from hwnas.core.errors import BadInput
from hwnas.latency.model import LatencyModel, raw_sum
from hwnas.latency.table import LatencyTable
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
        self.additive = self.raw = raw_sum(space, table)

    @property
    def is_sum(self) -> bool:
        return True

    @cached_property
    def margin(self) -> float:
        return 1.0


def model_of(space: Space, table: LatencyTable, statistic: Statistic = "median") -> LatencyModel:
    """The latency model that fits the table. Raises BadInput as the model does."""
    return (PlainSum if table.imported else LatencyModel)(space, table, statistic)
