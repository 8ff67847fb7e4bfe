"""The non-dominated sort and crowding distance of NSGA-II, and what the search makes of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwnas.search.strategies._domination import crowding, dominates, fronts
from hwnas.search.strategies.nsga2 import Nsga2, Nsga2Settings
from hwnas.search.trial import Trial, pareto
from hwnas.spaces import every_arch
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices

Point = tuple[int, int, int]
populations = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12)
"""Two objectives and a violation, of few values, so that ties abound."""


def parts(population: list[Point]) -> tuple[np.ndarray, np.ndarray]:
    found = np.array(population, dtype=float)
    return found[:, :2], np.maximum(found[:, 2] - 2, 0)  # half of them within the constraints


def beats(a: Point, b: Point) -> bool:
    """Definition 1, one clause after the other."""
    over_a, over_b = max(a[2] - 2, 0), max(b[2] - 2, 0)
    if over_a == 0 and over_b > 0:
        return True
    if over_a > 0 and over_b > 0:
        return over_a < over_b
    if over_a > 0:
        return False
    return a[0] <= b[0] and a[1] <= b[1] and a[:2] != b[:2]


@given(populations)
def test_constrained_domination_is_the_definition(population: list[Point]) -> None:
    expected = [[beats(a, b) for b in population] for a in population]
    assert dominates(*parts(population)).tolist() == expected


@given(populations)
def test_fronts_are_those_of_brute_force(population: list[Point]) -> None:
    left, expected = set(range(len(population))), []
    while left:
        front = {i for i in left if not any(beats(population[j], population[i]) for j in left)}
        expected.append(sorted(front))
        left -= front
    assert fronts(*parts(population)) == expected


@given(populations)
def test_the_ends_of_a_front_are_never_crowded(population: list[Point]) -> None:
    points, _ = parts(population)
    distance = crowding(points)
    for values in points.T:
        assert np.isinf(distance[values == values.min()]).any() and np.isinf(distance[values == values.max()]).any()
    assert (distance >= 0).all()


def test_crowding_is_the_box_between_the_neighbours() -> None:
    points = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 1.0], [5.0, 0.0]])
    assert np.allclose(crowding(points)[1:3], [4 / 5 + 9 / 10, 4 / 5 + 6 / 10])


def test_feasible_survive_before_better_ones_over_the_budget() -> None:
    space = PaperSpace([3] * 4, one_operator_an_option([3] * 4))
    problem = paper_problem(space, prices(12, 1), 0.5)
    strategy = Nsga2(problem, Nsga2Settings(population=2))
    limit = problem.limit_ms
    within = [Trial((0, 0, 0, i), 0.1, limit - i, limit - i) for i in range(2)]
    over = [Trial((1, 0, 0, i), 0.9, limit * 1.1, limit * 1.1) for i in range(2)]
    assert set(strategy.survivors([*over, *within])) == set(within)


def test_it_finds_more_of_the_front_than_random_search() -> None:
    """Accuracy and latency disagree in every choice; the exact front is known by counting."""
    space = PaperSpace([4] * 6, one_operator_an_option([4] * 6))
    problem = paper_problem(space, [0.1 + 0.3 * option + 0.02 * c for c in range(6) for option in range(4)], 0.3)

    def judged(arch: tuple[int, ...]) -> Trial:
        accuracy = sum((option**0.5) * (c + 1) for c, option in enumerate(arch)) / 100
        ms = problem.latency.predict(arch)
        return Trial(arch, accuracy, ms, ms)

    def area(trials: list[Trial]) -> float:
        """Under the front, up to the budget."""
        front = pareto(trials)
        ends = [*(t.predicted_ms for t in front[1:]), problem.limit_ms]
        return sum(t.accuracy * (end - t.predicted_ms) for t, end in zip(front, ends, strict=True))

    everything = [judged(tuple(a)) for a in every_arch(space).tolist() if problem.feasible(tuple(a))]
    strategy = Nsga2(problem, Nsga2Settings(trials=300))
    found = []
    for _ in range(strategy.trials):
        found.append(judged(strategy.ask()))
        strategy.tell(found[-1])
    drawn = [judged(problem.sample(strategy.rng)) for _ in range(300)]
    assert all(trial.predicted_ms <= problem.limit_ms for trial in found)
    assert len({trial.arch for trial in found}) == len(found)
    missed = [area(everything) - area(trials) for trials in (found, drawn)]
    assert missed[0] < 0.06 * area(everything) and missed[0] < 0.6 * missed[1]


def test_a_failed_network_has_no_children() -> None:
    """Failed ones have no accuracy, but the latency of what they are: the fastest would be on the front for ever."""
    widths = [4] * 6
    problem = paper_problem(PaperSpace(widths, one_operator_an_option(widths)), prices(24, 1), 0.3)
    strategy = Nsga2(problem, Nsga2Settings(trials=8, population=4))
    failing = [strategy.ask() for _ in range(4)]
    for arch in failing[:-1]:
        strategy.tell(problem.trial(arch, 0.0, "its worker was killed by SIGKILL"))
    strategy.tell(problem.trial(failing[-1], 0.5))
    strategy.ask()
    assert [trial.arch for trial in strategy.parents] == failing[-1:]
