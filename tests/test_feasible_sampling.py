"""Random networks within a budget: always feasible, always soon, and an impossible budget says what is possible."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import Infeasible
from hwnas.search.problem import Problem
from hwnas.search.projection import extreme
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices
from hwnas.testing.strategy import problems


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), tightness=st.one_of(st.floats(0, 1), st.just(1.0)))
def test_samples_are_feasible(seed: int, tightness: float) -> None:
    widths = [4] * 7
    problem = paper_problem(PaperSpace(widths, one_operator_an_option(widths)), prices(28, seed), tightness)
    rng = Random(seed)
    for _ in range(20):
        assert problem.feasible(problem.sample(rng))


@pytest.mark.parametrize("name", problems())
def test_samples_are_feasible_where_operators_hang_together(name: str) -> None:
    problem, rng = problems()[name], Random(0)
    assert all(problem.feasible(problem.sample(rng)) for _ in range(200))


def test_few_draws_where_one_network_fits() -> None:
    """Sampling makes networks cheaper instead of hoping: the number of draws stays bounded."""
    widths = [6] * 20
    space = PaperSpace(widths, one_operator_an_option(widths))
    problem = paper_problem(space, prices(120, 0), tightness=1.0)
    draws = 0

    class Counting(PaperSpace):
        def random(self, rng):
            nonlocal draws
            draws += 1
            return super().random(rng)

    counting = Problem(Counting(widths, one_operator_an_option(widths)), problem.latency, problem.budget_ms, 0)
    assert counting.sample(Random(1)) == extreme(space, problem.additive, cheapest=True)
    assert draws <= 50


def test_samples_are_not_all_alike() -> None:
    """Also under a budget that hardly any uniform draw would meet."""
    widths = [5] * 10
    problem = paper_problem(PaperSpace(widths, one_operator_an_option(widths)), prices(50, 0), tightness=0.85)
    rng = Random(0)
    assert sum(problem.feasible(problem.space.random(rng)) for _ in range(200)) < 5
    assert len({problem.sample(rng) for _ in range(50)}) > 40


def test_an_impossible_budget_names_the_range() -> None:
    problem = problems()["plain"]
    low, high = (
        problem.latency.predict_p95(extreme(problem.space, problem.additive, cheapest=end)) for end in (True, False)
    )
    impossible = Problem(problem.space, problem.latency, 0.5 * low, 0)
    with pytest.raises(Infeasible) as caught:
        impossible.check_feasible()
    assert caught.value.exit_code == 3
    assert f"{low:.4g} to {high:.4g} ms" in caught.value.what
    suggested = float(caught.value.mend.split("--budget ")[1].split("ms")[0])
    Problem(problem.space, problem.latency, suggested, 0).check_feasible()


def test_a_possible_budget_passes() -> None:
    for problem in problems().values():
        problem.check_feasible()
