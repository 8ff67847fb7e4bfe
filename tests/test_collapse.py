"""When a gradient search is said to be collapsing, on synthetic histories: early, and not for the budget's sake."""

import numpy as np
import pytest

from hwnas.core.journal import Journal
from hwnas.search.collapse import PATIENCE, CollapseWatch, collapsing_since, parameter_free, verdict
from hwnas.search.driver import _Journaled
from hwnas.search.problem import Problem
from hwnas.spaces._cell201 import CONV_1, CONV_3, NONE, POOL, SKIP
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.spaces.nasbench201 import Nasbench201, Nasbench201Settings
from hwnas.testing.paper import PaperSpace, paper_problem

CELL = Nasbench201(Nasbench201Settings(cells=1), channels=3, classes=10)
MS = {"conv": 0.1, "skip": 0.01, "avg_pool": 0.3, "relu_conv": 0.5}


def problem(tightness: float) -> Problem:
    """3×3 convolutions take twice as long as 1×1, pooling and skips less. Tightness 0: every cell keeps the budget."""
    ms = [MS.get(c.spec.kind, 0.1) * (2 if c.spec.attributes().get("kernel") == 3 else 1) for c in CELL.operators()]
    return paper_problem(CELL, ms, tightness)


def history(problem: Problem, alphas: list[np.ndarray]) -> list[dict[str, object]]:
    """Epochs as the journal keeps them. `alphas`: [6 edges, 5 options] each."""
    watch = CollapseWatch(problem)
    logs = [alpha - np.log(np.exp(alpha).sum(1, keepdims=True)) for alpha in alphas]
    return [{"epoch": epoch} | watch.facts(list(log)) for epoch, log in enumerate(logs)]


def towards(options: list[int], speed: float, epochs: int, noise: float = 0.3) -> list[np.ndarray]:
    """α of these options, one an edge, grow by `speed` an epoch, over noise that stays."""
    start = noise * np.random.default_rng(0).standard_normal((6, 5))
    goal = np.eye(5)[options]
    return [start + speed * epoch * goal for epoch in range(1, epochs + 1)]


HEALTHY = {
    "convolutions": [CONV_3] * 6,
    "the best cell": [CONV_3, CONV_3, CONV_3, SKIP, CONV_3, CONV_1],
    "ResNet's cell": [CONV_3, NONE, CONV_3, SKIP, NONE, SKIP],
}


def test_parameter_free_options_are_asked_of_the_operators() -> None:
    assert all(np.flatnonzero(mask).tolist() == [NONE, SKIP, POOL] for mask in parameter_free(CELL))
    mobile = Mobile(MobileSettings(), channels=3, classes=10)
    for choice, mask in zip(mobile.choices, parameter_free(mobile), strict=True):
        assert [name for name, free in zip(choice.options, mask, strict=True) if free] in ([], ["zero"])
    assert any(mask.any() for mask in parameter_free(mobile))


@pytest.mark.parametrize("options", [[SKIP] * 6, [NONE, SKIP, SKIP, SKIP, POOL, SKIP], [CONV_1] + [SKIP] * 5])
def test_a_collapse_is_found_early(options: list[int]) -> None:
    """At DARTS's published pace (α 3e-4, some 400 steps an epoch): in the first third of its 50 epochs."""
    epochs = history(problem(0.0), towards(options, speed=0.12, epochs=50))
    said = [n for n in range(1, 51) if collapsing_since(epochs[:n]) is not None]
    assert said and said[0] <= 17
    assert said == list(range(said[0], 51)), "the verdict comes and goes"
    assert f"from epoch {said[0] - PATIENCE + 1} " in verdict(epochs) and "collapsed" in verdict(epochs)


@pytest.mark.parametrize("options", HEALTHY.values(), ids=HEALTHY.keys())
@pytest.mark.parametrize("tightness", [0.0, 0.4])
def test_a_healthy_search_is_left_in_peace(options: list[int], tightness: float) -> None:
    epochs = history(problem(tightness), towards(options, speed=0.12, epochs=50))
    assert all(collapsing_since(epochs[:n]) is None for n in range(1, 51))
    assert verdict(epochs) == "The search did not collapse to options without parameters."


def test_an_undecided_search_is_left_in_peace() -> None:
    """Three of five options have no parameters: the most probable one is such for most edges, by noise alone."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        epochs = history(problem(0.0), [1e-2 * rng.standard_normal((6, 5)) for _ in range(30)])
        assert collapsing_since(epochs) is None


def test_a_budget_that_forces_skips_is_no_collapse() -> None:
    """One 3×3 convolution is all that fits: the search spends its budget on it, and skips elsewhere."""
    tight = problem(0.8)
    options = [CONV_3] + [SKIP] * 5
    assert tight.feasible(tuple(options)) and not tight.feasible((CONV_3, CONV_3, *options[2:]))
    epochs = history(tight, towards(options, speed=0.3, epochs=50))
    assert collapsing_since(epochs) is None
    assert collapsing_since(history(problem(0.0), towards(options, speed=0.3, epochs=50))) is not None


def test_nothing_is_said_where_only_the_cheapest_network_fits() -> None:
    epochs = history(problem(1.0), towards([NONE] * 6, speed=0.3, epochs=50))
    assert collapsing_since(epochs) is None


def test_a_collapse_below_a_tight_budget_is_found() -> None:
    epochs = history(problem(0.6), towards([SKIP] * 6, speed=0.3, epochs=30))
    assert collapsing_since(epochs) is not None


def test_a_search_that_recovers_is_told_from_one_that_does_not() -> None:
    there = towards([SKIP] * 6, speed=0.3, epochs=15)
    back = [there[-1] + 0.5 * n * np.eye(5)[[CONV_3] * 6] for n in range(1, 30)]
    epochs = history(problem(0.0), there + back)
    assert collapsing_since(epochs[:15]) is not None and collapsing_since(epochs) is None
    assert "and recovered" in verdict(epochs)


def test_a_space_without_such_options_says_nothing() -> None:
    skeleton = MobileSettings(resolution=16, widths=(12, 16), depths=(1, 1), strides=(1, 2), head_width=32)
    space = Mobile(skeleton, channels=1, classes=10)
    watch = CollapseWatch(paper_problem(space, [1.0] * len(space.operators()), 0.5))
    facts = watch.facts([np.log(np.full(len(c.options), 1 / len(c.options))) for c in space.choices])
    assert facts == {} and verdict([{"epoch": 0} | facts] * 9) == ""


def test_it_is_said_once_while_it_happens(tmp_path, capfd) -> None:
    class Collapsing:
        def __init__(self, alphas):
            self.alphas = iter(alphas)

        def facts(self):
            return {"expected": 1.0}

        def scores(self):
            alpha = next(self.alphas)
            return list(alpha - np.log(np.exp(alpha).sum(1, keepdims=True)))

    journal = Journal(tmp_path / "journal.jsonl")
    companion = _Journaled(Collapsing(towards([SKIP] * 6, 0.5, 12)), problem(0.0), journal)
    for epoch in range(12):
        companion.epoch_done(epoch)
        said = capfd.readouterr().err
        first = collapsing_since(list(journal.of("epoch")))
        assert ("collapsing" in said) == (first is not None and epoch == first + PATIENCE - 1)
    assert [bool(e["collapsing"]) for e in journal.of("epoch")].count(True) > PATIENCE
    companion.epoch_done(11)  # journaled before a kill: not again
    assert len(list(journal.of("epoch"))) == 12


def test_an_epoch_of_an_older_journal_says_nothing() -> None:
    assert verdict([{"epoch": n, "expected": 1.0} for n in range(9)]) == ""


def test_a_choice_of_one_option_is_left_out() -> None:
    space = PaperSpace([1, 1], [])
    assert [mask.tolist() for mask in parameter_free(space)] == [[True], [True]]
