"""Large-scale evolution: its tournaments, its mutations, and the weights that are handed down."""

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal
from hwnas.search.ask_tell import propose
from hwnas.search.estimators import Means
from hwnas.search.estimators.inherited import Inherited, InheritedSettings, inherit
from hwnas.search.problem import Problem
from hwnas.search.strategies.large_scale_evolution import (
    _NETWORK,
    LargeScaleEvolution,
    LargeScaleEvolutionSettings,
    mutated,
)
from hwnas.search.trial import SearchResult, Trial, Upbringing, ranked
from hwnas.spaces.chain import Chain, ChainSettings
from hwnas.testing.estimator import small_means
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices
from hwnas.training import checkpoint

CHAIN: dict[str, Any] = {"depth": 2, "widths": (4, 8), "kernels": (1, 3), "strides": ((1, 2), (2, 2))}


def chain(**settings: Any) -> Chain:
    return Chain(validate(ChainSettings, CHAIN | settings, "space"), channels=1, classes=10)


def problem(tightness: float = 0.0) -> Problem:
    widths = [4] * 5
    return paper_problem(PaperSpace(widths, one_operator_an_option(widths)), prices(20, 1), tightness)


def evolution(task: Problem, **settings: int) -> LargeScaleEvolution:
    return LargeScaleEvolution(task, LargeScaleEvolutionSettings(**settings))


def evolve(strategy: LargeScaleEvolution, count: int, accuracy: float | None = None) -> list[Upbringing]:
    found = []
    for number in range(count):
        arch = strategy.ask()
        found.append(strategy.upbringing())
        strategy.tell(Trial(arch, number / 1000 if accuracy is None else accuracy, 1.0, 1.0))
    return found


def test_it_starts_from_the_fastest_network() -> None:
    task = problem()
    strategy = evolution(task)
    assert strategy.ask() == task.cheapest
    assert strategy.upbringing() == Upbringing(0, None, 1.0)
    assert strategy.outstanding(4) == 0, "it is trained once, whatever the number of workers"
    strategy.tell(Trial(task.cheapest, 0.5, 1.0, 1.0))
    assert strategy.outstanding(4) == 3


def test_of_two_the_worse_dies_and_the_better_reproduces() -> None:
    """With a population of two, both are always drawn."""
    strategy = evolution(problem(), population=2)
    evolve(strategy, 2)
    for number in range(2, 30):
        better, worse = sorted(strategy.alive, key=lambda one: -one.trial.accuracy)
        arch = strategy.ask()
        assert strategy.alive == [better] and worse not in strategy.alive
        assert strategy.upbringing().parent in (better.upbringing.number, None)
        assert sum(a != b for a, b in zip(arch, better.trial.arch, strict=True)) <= 1
        strategy.tell(Trial(arch, number * 7 % 31 / 31, 1.0, 1.0))


def test_nobody_dies_before_the_population_is_full() -> None:
    strategy = evolution(problem(), population=6)
    for size in range(1, 20):
        evolve(strategy, 1)
        assert len(strategy.alive) == min(size, 6)


def test_mutations_of_the_training() -> None:
    """Each of eleven as often: about 1/11 with another rate, 1/11 with fresh weights, 9/11 with neither."""
    raised = evolve(evolution(problem(), population=2), 2000, accuracy=0.5)[1:]
    parents = {one.number: one for one in raised}
    fresh = sum(one.parent is None for one in raised)
    rates = [one.rate / parents[one.parent].rate for one in raised if one.parent in parents]
    altered = [ratio for ratio in rates if ratio != 1]
    assert 0.07 < fresh / 2000 < 0.11 and 0.07 < len(altered) / 2000 < 0.11
    assert all(0.5 <= ratio <= 2 for ratio in altered)


def test_mutations_of_the_network_change_what_they_name() -> None:
    space, rng = chain(), Random(0)
    sorts = {choice.name: choice.decides for choice in space.choices}
    seen: Counter[str] = Counter()
    for mutation, (sort, step) in _NETWORK.items():
        for _ in range(40):
            arch = space.random(rng)
            child = mutated(space, arch, sort, step, rng)
            changed = [i for i, (a, b) in enumerate(zip(arch, child, strict=True)) if a != b]
            assert [sorts[space.choices[i].name] for i in changed] in ([], [sort])
            assert step is None or all(child[i] - arch[i] == step for i in changed)
            seen[mutation] += len(changed)
    assert min(seen[mutation] for mutation in _NETWORK) > 10


def test_every_child_of_a_typed_space_is_another_network_or_another_training() -> None:
    space = chain()
    task = paper_problem(space, prices(len(space.operators()), 1), 0.6)
    strategy = evolution(task, population=3)
    functions = []
    for number in range(60):
        arch = strategy.ask()
        assert task.feasible(arch)
        functions.append(space.function(arch))
        strategy.tell(Trial(arch, number / 1000, 1.0, 1.0))
    assert len(set(functions)) > 25


def test_the_best_trial_of_a_network_counts() -> None:
    trials = [Trial((0,), 0.5, 1.0, 1.0), Trial((0,), 0.7, 1.0, 1.0), Trial((0,), 0.6, 1.0, 1.0)]
    assert [trial.accuracy for trial in ranked(trials)] == [0.7]


# --- Weights ---------------------------------------------------------------------------------------------------------


def test_every_weight_whose_shape_matches_is_inherited() -> None:
    torch.manual_seed(0)
    space = chain()
    parent, child = list(space.reference()), list(space.reference())
    kernel = next(i for i, choice in enumerate(space.choices) if choice.name == "stage1_layer2_kernel")
    child[kernel] = 0
    mother, heir = space.build(tuple(parent)), space.build(tuple(child))
    before = {key: tensor.clone() for key, tensor in heir.state_dict().items()}
    inherit(heir, mother.state_dict())
    for key, tensor in heir.state_dict().items():
        same = before if key == "stage1_layer2.main.conv.weight" else mother.state_dict()
        assert torch.equal(tensor, same[key]), key


def test_a_child_goes_on_from_its_parent(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    estimator, arch = Inherited(means, InheritedSettings(epochs=1)), means.space.reference()
    estimator.raised(arch, Upbringing(0, None, 1.0))
    estimator.raised(arch, Upbringing(1, 0, 1e-12))  # at a rate of nothing
    estimator.raised(arch, Upbringing(2, None, 1e-12))
    paths = (tmp_path / f"weights-{number}.safetensors" for number in range(3))
    parent, child, stranger = (checkpoint.load(path)[0]["model"]["feature.conv.weight"] for path in paths)
    assert torch.allclose(parent, child, atol=1e-6)
    assert not torch.allclose(parent, stranger, atol=1e-2)


def test_a_child_that_diverges_is_worth_nothing(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    estimator, arch = Inherited(means, InheritedSettings(epochs=1)), means.space.reference()
    estimator.raised(arch, Upbringing(0, None, 1.0))
    assert estimator.raised(arch, Upbringing(1, 0, 1e30)) == 0.0
    assert estimator.raised(arch, Upbringing(2, 1, 1.0)) > 0.0


def test_weights_that_are_gone_are_an_error(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    with pytest.raises(BadInput, match=r"weights-7.safetensors is gone"):
        Inherited(means, InheritedSettings()).raised(means.space.reference(), Upbringing(8, 7, 1.0))


def search(folder: Path) -> tuple[SearchResult, Journal]:
    folder.mkdir(exist_ok=True)
    means: Means = small_means(folder / "checkpoints")
    task = paper_problem(means.space, prices(len(means.space.operators()), 1), 0.4)
    strategy = evolution(task, trials=6, population=3)
    journal = Journal(folder / "journal.jsonl")
    found = propose(strategy, Inherited(means, InheritedSettings(epochs=1)), means, task, journal, "trial")
    return found, journal


def test_interrupted_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """Killed after the weights of a trial were written, and before its line in the journal was."""
    whole, journal = search(tmp_path / "whole")
    records = list(journal.of("trial"))
    assert [record["number"] for record in records] == list(range(6))
    assert all(record["parent"] is None or record["parent"] < record["number"] for record in records)
    assert whole.epochs == 6
    stopped = tmp_path / "stopped"
    search(stopped)
    lines = (stopped / "journal.jsonl").read_text().splitlines()
    (stopped / "journal.jsonl").write_text("\n".join(lines[:3]) + "\n")
    again, resumed = search(stopped)
    assert resumed.digest() == journal.digest()
    assert again.candidates == whole.candidates
    assert json.loads(lines[0])["parent"] is None
