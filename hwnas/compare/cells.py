"""The matrix: one cell a strategy, budget and seed. All cells have one space, data set, estimator and target."""

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwnas.core.budget import parse_budget
from hwnas.core.config import read_yaml
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.run.config import DEFAULTS, RunConfig, resolve_values
from hwnas.search.strategies import Proposer


@dataclass(frozen=True)
class Cell:
    """`path`: of its run, where it is one."""

    strategy: str
    config: RunConfig
    path: Path

    @property
    def budget(self) -> str:
        return self.config.budget

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def name(self) -> str:
        return f"{self.strategy} {self.budget} seed {self.seed}"

    @property
    def has_truth(self) -> bool:
        """Whether what it finds is judged by a published table: no need to train and measure it."""
        estimator = self.config.estimator
        return estimator is not None and load("estimators", estimator.name).looks_up

    @property
    def is_looked_up(self) -> bool:
        """Nothing is trained at all: a record, and no run."""
        return self.has_truth and issubclass(load("strategies", self.config.strategy.name), Proposer)

    @cached_property
    def digest(self) -> str:
        return self.config.digest()


@dataclass(frozen=True)
class Matrix:
    """`cells`: by seed first, so that a comparison cut short is a smaller one."""

    strategies: list[str]
    budgets: list[str]
    seeds: list[int]
    cells: list[Cell]
    path: Path

    @property
    def config(self) -> RunConfig:
        """Of all cells alike, but for strategy, budget and seed."""
        return self.cells[0].config


def matrix(
    flags: dict[str, Any],
    file: Path | None,
    assignments: Sequence[str],
    strategies: Sequence[str],
    budgets: Sequence[str],
    seeds: Sequence[int],
    out: Path | None,
) -> Matrix:
    """Without strategies: random search and the configured one; without budgets: the configured one.

    What the file sets of a strategy, and an assignment to a strategy's name (`guided.trials=60`), is of that strategy
    alone; `strategy.…` is of all. Raises BadInput for anything unknown or impossible, before any work.
    """
    values = read_yaml(file) if file else {}
    configured = _section(values.pop("strategy", {}))
    labels = {label(name): name for name in strategies or ("random", configured["name"])}
    resolved = {
        short: resolve_values(
            deepcopy(values),
            flags | {"strategy": configured if name == configured["name"] else {"name": name}},
            _own(assignments, short, list(labels)),
        )
        for short, name in labels.items()
    }
    if any(config.also_on for config in resolved.values()):
        raise BadInput("a comparison has one target", "leave out also_on: hwnas run takes several targets")
    budgets = budgets or [config.budget for config in resolved.values()]
    written = list(dict.fromkeys(str(parse_budget(budget)) for budget in budgets))
    configs = [
        (short, config.model_copy(update={"budget": budget, "seed": seed}))
        for seed in seeds
        for budget in written
        for short, config in resolved.items()
    ]
    path = out or _default_directory([config for _, config in configs])
    cells = [Cell(short, config, path / _folder(short, config)) for short, config in configs]
    return Matrix(list(labels), written, list(seeds), cells, path)


def label(strategy: str) -> str:
    """A plug-in's name; of a file its stem."""
    return Path(strategy).stem if strategy.endswith(".py") else strategy


def _own(assignments: Sequence[str], strategy: str, everyone: list[str]) -> tuple[str, ...]:
    """The assignments that are this strategy's, in the words of a run."""
    found = []
    for assignment in assignments:
        first, _, rest = assignment.partition(".")
        if first == strategy:
            found.append(f"strategy.{rest}")
        elif first not in everyone:
            found.append(assignment)
    return tuple(found)


def _section(given: Any) -> dict[str, Any]:
    """A file's `strategy`, with its name; the default one where it has none. Raises BadInput when it is no section."""
    found = {"name": given} if isinstance(given, str) else given
    if not isinstance(found, dict):
        raise BadInput(f"configuration: 'strategy' must be a name or a section, not {given!r}")
    return {"name": DEFAULTS["strategy"]} | found


def _folder(strategy: str, config: RunConfig) -> Path:
    return Path(strategy) / config.budget.replace("%", "-percent").replace("@", "-") / f"seed-{config.seed}"


def _default_directory(configs: list[RunConfig]) -> Path:
    digest = hashlib.sha256("".join(config.digest() for config in configs).encode()).hexdigest()
    return Path("runs") / f"compare-{configs[0].space.name}-{configs[0].target.name}-{digest[:8]}".replace("/", "_")
