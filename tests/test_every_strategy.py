"""Every strategy on the spaces of cells and of whole networks: a tiny search from end to end, within the budget."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal
from hwnas.core.plugins import load, names
from hwnas.search.ask_tell import propose
from hwnas.search.driver import relax
from hwnas.search.estimators import Means
from hwnas.search.problem import Problem
from hwnas.search.strategies import Relaxation
from hwnas.search.trial import SearchResult
from hwnas.testing.estimator import small_means
from hwnas.testing.paper import paper_problem, prices

SPACES: dict[str, dict[str, Any]] = {
    "darts": {"resolution": 16, "width": 4, "cells": 3, "nodes": 2, "operators": "enas"},
    "chain": {"resolution": 16, "depth": 2, "widths": (4, 8), "kernels": (1, 3), "strides": ((1, 2), (2, 2))},
}
SHORT = {"trials": 3, "batch": 2, "start": 2, "epochs": 2, "population": 2, "generations": 2, "derived": 1}
"""Of the settings of any strategy, whichever it has."""


@pytest.fixture(scope="module", params=SPACES)
def task(request: pytest.FixtureRequest) -> Iterator[Problem]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    plugin = load("spaces", request.param)
    space = plugin(validate(plugin.Settings, SPACES[request.param], "space"), channels=1, classes=10)
    yield paper_problem(space, prices(len(space.operators()), 1), tightness=0.5)
    torch.set_num_threads(threads)


def search(name: str, task: Problem, folder: Path) -> SearchResult:
    given = small_means(folder / "checkpoints")
    recipe = given.recipe.model_copy(update={"epochs": 1, "batch_size": 64})
    means = Means(task.space, given.data, recipe, given.device, seed=0, trials=3, checkpoints=given.checkpoints)
    journal, plugin = Journal(folder / "journal.jsonl"), load("strategies", name)
    short = {key: value for key, value in SHORT.items() if key in plugin.Settings.model_fields}
    settings = validate(plugin.Settings, short, "strategy")
    if issubclass(plugin, Relaxation):
        found = relax(plugin(task, settings, recipe.epochs), means, task, journal)
    else:
        judge = load("estimators", plugin.estimator)
        estimator = judge(means, validate(judge.Settings, {}, "estimator"))
        found = propose(plugin(task, settings), estimator, means, task, journal, "trial")
    assert all(task.feasible(trial.arch) for trial in found.candidates)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", names("strategies"))
def test_a_search_ends_within_the_budget(name: str, task: Problem, tmp_path: Path) -> None:
    strategy = load("strategies", name)
    if issubclass(strategy, Relaxation) and strategy.mixes and not task.space.mixable:
        with pytest.raises(BadInput, match="mixes options, which space chain does not allow"):
            search(name, task, tmp_path)
    else:
        assert search(name, task, tmp_path).candidates
