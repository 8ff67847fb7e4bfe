"""What makes ENAS itself: turns of weights and controller, REINFORCE on batches of the search split."""

from collections.abc import Callable
from math import exp

import numpy as np
import pytest
import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.search.driver import relax
from hwnas.search.strategies.enas import Enas, EnasSettings
from hwnas.spaces import Gates
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices

STEPS = 8


def enas(**settings: float) -> Enas:
    widths = [3] * 4
    problem = paper_problem(PaperSpace(widths, one_operator_an_option(widths)), prices(12, 1), 0.4)
    return Enas(problem, EnasSettings.model_validate(settings), epochs=10)


def arch_of(gates: Gates) -> Arch:
    return tuple(option for paths in gates.values() for option in paths)


def epochs(strategy: Enas, first: int, last: int, loss_of: Callable[[Gates], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    for epoch in range(first, last):
        for step in range(STEPS):
            strategy.update(loss_of, epoch + step / STEPS, generator)


def test_the_controller_has_its_turn_when_the_epoch_of_the_weights_is_over() -> None:
    strategy, asked = enas(warmup=0.2, every=2, networks=5), []

    def loss_of(gates: Gates) -> Tensor:
        asked.append((strategy.progress, arch_of(gates)))
        return torch.tensor(1.0)

    epochs(strategy, 0, 4, loss_of)
    moments = sorted({progress for progress, _ in asked})
    assert moments == [2 + (STEPS - 1) / STEPS, 3 + (STEPS - 1) / STEPS]  # none in the two epochs of the warm-up
    assert len(asked) == 2 * (STEPS // 2) * 5


def test_a_turn_is_taken_also_after_an_epoch_of_one_step() -> None:
    strategy, turns = enas(warmup=0.0, networks=2), []
    generator = torch.Generator().manual_seed(0)
    for epoch in range(4):
        strategy.update(lambda gates: torch.tensor(float(len(turns.append(0) or [0]))), float(epoch), generator)
    assert len(turns) == 3 * 2  # the length of an epoch is known from the second step on


def test_what_was_rewarded_becomes_more_likely() -> None:
    good: Arch = (2, 0, 1, 2)
    strategy = enas(warmup=0.0, every=1, learning_rate=0.01)
    before = strategy.controller.log_probability([good]).item()
    epochs(strategy, 0, 10, lambda g: torch.tensor(sum(a != b for a, b in zip(arch_of(g), good, strict=True)) / 2))
    assert strategy.controller.log_probability([good]).item() > before + 1


def test_the_baseline_is_a_moving_average_of_likelihoods() -> None:
    strategy = enas(warmup=0.0, every=STEPS, baseline_decay=0.75)
    strategy._learn(lambda gates: torch.tensor(1.0), torch.Generator().manual_seed(0))
    assert strategy.baseline == pytest.approx(exp(-1))
    strategy.term.multiplier = 0.0
    strategy._learn(lambda gates: torch.tensor(0.5), torch.Generator().manual_seed(0))
    assert strategy.baseline == pytest.approx(0.75 * exp(-1) + 0.25 * exp(-0.5))


def test_scores_are_the_marginals_of_what_is_drawn() -> None:
    strategy = enas()
    with torch.no_grad():
        for head in strategy.controller.heads:
            head.weight.normal_(0, 3, generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr, operator]
    archs = np.array(strategy.controller.sample(torch.Generator().manual_seed(2), 4000))
    for choice, scores in enumerate(strategy.scores()):
        drawn = np.bincount(archs[:, choice], minlength=3) / len(archs)
        assert np.allclose(np.exp(scores), drawn, atol=0.08)


def test_logits_are_bounded() -> None:
    strategy = enas(bound=1.5)
    with torch.no_grad():
        for parameter in strategy.controller.parameters():
            parameter.mul_(1000)
    for rows in strategy.controller.log_softmaxes([(0, 1, 2, 0)]):
        assert float((rows.max() - rows.min()).detach()) <= 3.0 + 1e-6


def test_networks_drawn_at_the_end_are_within_the_budget() -> None:
    strategy = enas(derived=30)
    found = strategy.drawn()
    assert found and len(set(found)) == len(found) and all(map(strategy.problem.feasible, found))
    assert found == strategy.drawn()


def test_it_searches_spaces_that_cannot_be_mixed(tmp_path, monkeypatch) -> None:
    """Its paths are single: nothing is summed."""
    from hwnas.core.journal import Journal
    from hwnas.testing.estimator import small_means

    means = small_means(tmp_path)
    monkeypatch.setattr(type(means.space), "mixable", False)
    problem = paper_problem(means.space, [1.0 + i % 3 for i, _ in enumerate(means.space.operators())], 0.5)
    strategy = Enas(problem, EnasSettings(warmup=0.0, networks=2, every=8), means.recipe.epochs)
    journal = Journal(tmp_path / "journal.jsonl")
    found = relax(strategy, means, problem, journal)
    assert all(problem.feasible(trial.arch) for trial in found.candidates)
    again = relax(Enas(problem, strategy.settings, means.recipe.epochs), means, problem, journal)
    assert again.candidates == found.candidates
