"""One cell's work, in whatever process it is done."""

from functools import cache
from time import monotonic
from types import SimpleNamespace
from typing import Any, NamedTuple

from hwnas.compare.cells import Cell
from hwnas.compare.outcome import record_of
from hwnas.core.config import PluginSettings, validate
from hwnas.core.errors import VerificationFailed
from hwnas.core.plugins import load
from hwnas.latency.model import LatencyModel
from hwnas.run.config import RunConfig
from hwnas.run.problem import data_of, latency_of, problem_of, space_of
from hwnas.run.stages import Run
from hwnas.search.estimators.tabular import Tabular
from hwnas.search.lookup import look_up
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.spaces import Space
from hwnas.training.compute import Device


class Known(NamedTuple):
    """What searches of one space, table and estimator share. `estimator`: None where nothing is looked up."""

    space: Space
    latency: LatencyModel
    estimator: Tabular | None


def known(config: RunConfig) -> Known:
    """Read once in a process. Raises BadInput when the files do not fit; times what the target's table lacks."""
    alike = {"strategy": PluginSettings(name="random"), "seed": 0}
    return _known(config.model_copy(update=alike).model_dump_json())


@cache
def _known(text: str) -> Known:
    config = RunConfig.model_validate_json(text)
    estimator = None
    channels, classes = (3, 10) if config.latency else _shape(config)  # published networks are looked up, not built
    Device(config.compute)  # sets the threads before anything is timed
    space = space_of(config, channels, classes)
    if config.estimator is not None and (plugin := load("estimators", config.estimator.name)).looks_up:
        settings = validate(plugin.Settings, config.estimator.own(), "estimator")
        estimator = plugin(SimpleNamespace(space=space), settings)
    return Known(space, latency_of(config, space), estimator)


def _shape(config: RunConfig) -> tuple[int, int]:
    data = data_of(config)
    return data.channels, data.classes


def problem(cell: Cell) -> Problem:
    """Raises Infeasible when nothing fits the budget."""
    found = known(cell.config)
    return problem_of(cell.config, found.space, found.latency)


def search(cell: Cell) -> dict[str, Any]:
    """A whole search of published accuracies, as a record's fields."""
    start, task = monotonic(), problem(cell)
    estimator = known(cell.config).estimator
    assert estimator is not None
    plugin = load("strategies", cell.config.strategy.name)
    strategy = plugin(task, validate(plugin.Settings, cell.config.strategy.own(), "strategy"))
    assert isinstance(strategy, Proposer)
    trials = look_up(strategy, task, estimator.accuracy, lambda trials: len(trials) < strategy.trials)
    simulated = sum(estimator.seconds(t.arch) for t in trials) if estimator.settings.seconds else None
    return record_of(trials, task.budget_ms, simulated) | {"spent_seconds": monotonic() - start}


def advance(cell: Cell, stage: str) -> str:
    """Take a run through `stage` (search, select, train or finish). Returns why there is no result, or nothing.

    A run that ends without a network within its budget is a result of the comparison, not the end of it.
    """
    with Run(cell.config.with_workers(0), cell.path) as run:
        try:
            getattr(run, stage)()
        except VerificationFailed as error:
            return error.what
    return ""
