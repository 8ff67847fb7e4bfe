"""From a configuration to what a strategy is told: the space, the latencies, the budget."""

from hwnas.core.budget import parse_budget
from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.core.progress import say, warn
from hwnas.latency.install import table_path
from hwnas.latency.model import LatencyModel
from hwnas.latency.plain_sum import model_of
from hwnas.latency.profiler import Profiler
from hwnas.latency.published import open_published
from hwnas.latency.table import LatencyTable, load_table
from hwnas.operators.costs import BYTES
from hwnas.run.config import RunConfig
from hwnas.run.refusals import require_text
from hwnas.search.bounds import Limit
from hwnas.search.on_target import OnTarget
from hwnas.search.problem import Problem
from hwnas.spaces import Space
from hwnas.training.data import Data, open_data
from hwnas.training.ranks import here


def data_of(config: RunConfig) -> Data:
    resolution = config.space.own().get("resolution", 32)
    return open_data(config.data.name, config.data.own(), resolution, config.seed)


def space_of(config: RunConfig, channels: int, classes: int) -> Space:
    plugin = load("spaces", config.space.name)
    if plugin.reads_text != (channels == 0):
        what = f"space {config.space.name} reads {'text' if plugin.reads_text else 'images'}"
        mend = "--space rnn-cell (or rnn-tree) goes with --data ptb"
        raise BadInput(f"{what}, which data {config.data.name} does not hold", mend)
    if plugin.reads_text:
        require_text(config)
    return plugin(validate(plugin.Settings, config.space.own(), "space"), channels=channels, classes=classes)


def latency_of(config: RunConfig, space: Space, allow_mismatch: bool = False) -> LatencyModel:
    """As published, or by the target's table; what that lacks is timed."""
    statistic = parse_budget(config.budget).statistic
    if config.latency is not None:
        return open_published(space, config.latency, statistic)
    # Of several ranks one times what the table lacks, while the others wait.
    table = here().told(lambda: table_for(config, space, allow_mismatch).model_dump(mode="json"))
    return model_of(space, LatencyTable.model_validate(table), statistic)


def table_for(config: RunConfig, space: Space, allow_mismatch: bool = False) -> LatencyTable:
    """The target's table with all that `space` needs: measured where it lacks something, or as it was imported."""
    if config.target.device == "imported":
        table = load_table(path := table_path(config.target.name))
        if not table.imported:
            raise BadInput(
                f"the target is an imported one, but {path} was measured", "give the profile its real device"
            )
        say(f"take care: latencies are {table.origin}")
        return table
    profiler = Profiler(config.target, settings=config.profile)
    table = profiler.profile(space, allow_mismatch=allow_mismatch)
    if predicted := table.predicted(space):
        warn(f"{len(predicted)} of the space's operators were predicted, not timed (profile.most_operators)")
    return table


def problem_of(config: RunConfig, space: Space, *latencies: LatencyModel) -> Problem:
    """`latencies`: one a target. Raises Infeasible at once when no network of the space fits the budgets and the
    bounds."""
    reference = space.reference()
    first, *others = (
        OnTarget(latency, parse_budget(each.budget).resolve_ms(latency.predict(reference)))
        for each, latency in zip(config.each(), latencies, strict=True)
    )
    limits = limits_of(config, space)
    problem = Problem(space, first.latency, first.budget_ms, config.seed, limits, tuple(others))
    problem.check_feasible()
    return problem


def limits_of(config: RunConfig, space: Space) -> tuple[Limit, ...]:
    """The bounds, in the precision that takes the most memory of those that the network will run in."""
    precision = max((each.target.precision for each in config.each()), key=lambda precision: BYTES[precision])
    return config.bounds.limits(space, precision)
