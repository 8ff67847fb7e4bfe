"""Which network a search takes."""

from collections.abc import Callable
from math import sqrt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwnas.core.arch import Arch
from hwnas.search.driver import candidates
from hwnas.search.problem import Problem
from hwnas.search.trial import Trial, pareto, shortlist
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices

TRIALS = st.lists(
    st.builds(
        lambda a, accuracy, ms: Trial((a,), accuracy, ms, ms * 1.05),
        st.integers(0, 50),
        st.floats(0.05, 0.95),
        st.floats(0.1, 2.0),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda trial: trial.arch,
)


def binomial(images: int) -> Callable[[float], float]:
    return lambda accuracy: sqrt(accuracy * (1 - accuracy) / images)


def test_the_slowest_of_those_within_one_standard_error() -> None:
    quick, slow, worse = (Trial((i,), a, ms, ms) for i, (a, ms) in enumerate([(0.90, 1.0), (0.89, 2.0), (0.80, 3.0)]))
    assert shortlist([quick, slow, worse], binomial(400)) == [slow, quick, worse]  # standard error 0.015
    assert shortlist([quick, slow, worse], binomial(40_000)) == [quick, slow, worse]


@given(TRIALS, st.integers(1, 10_000))
def test_everything_stays_and_the_first_is_near_the_best(trials: list[Trial], images: int) -> None:
    order = shortlist(trials, binomial(images))
    assert sorted(t.arch for t in order) == sorted(t.arch for t in trials)
    best = max(t.accuracy for t in trials)
    error = (best * (1 - best) / images) ** 0.5
    assert order[0].accuracy >= best - error
    assert all(t.predicted_ms <= order[0].predicted_ms for t in trials if t.accuracy >= best - error)


@given(TRIALS)
def test_no_trial_beats_one_of_the_front(trials: list[Trial]) -> None:
    front = pareto(trials)
    for member in front:
        assert not any(t.predicted_ms <= member.predicted_ms and t.accuracy > member.accuracy for t in trials)
    assert max(t.accuracy for t in trials) == front[-1].accuracy


def test_where_nothing_is_proposed_the_cheapest_network_is() -> None:
    """As where latency is no sum, and the sum that stands in for it promises too much."""

    class Mistaken(Problem):
        def project(self, scores: list[np.ndarray], count: int) -> list[Arch]:
            return []

    space = PaperSpace([3, 3], one_operator_an_option([3, 3]))
    whole = paper_problem(space, prices(6, 1), 0.5)
    problem = Mistaken(space, whole.latency, whole.budget_ms, 0)
    assert candidates(problem, [np.zeros(3), np.zeros(3)]) == [whole.cheapest]
