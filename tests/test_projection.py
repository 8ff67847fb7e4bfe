"""The integer program against looking at every network of small spaces."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.arch import Arch
from hwnas.latency.additive import Additive
from hwnas.search.projection import extreme, project
from hwnas.testing.paper import PaperSpace

GAP = 1e-5
"""Scores closer than this count as equal: the solver's own tolerance is 1e-6."""


class Case:
    """A space with milliseconds and scores, and all its networks."""

    def __init__(self, seed: int, constrained: bool) -> None:
        rng = np.random.default_rng(seed)
        widths = rng.integers(1, 5, rng.integers(2, 5)).tolist()
        conditions = [((c, o),) for c, w in enumerate(widths) for o in range(w)] + [()]
        for _ in range(rng.integers(0, 8)):
            choices = sorted(rng.choice(len(widths), min(len(widths), int(rng.integers(2, 4))), replace=False).tolist())
            conditions.append(tuple((c, int(rng.integers(widths[c]))) for c in choices))
        allowed = (lambda arch: sum(arch) % 3 != 1) if constrained else (lambda arch: True)
        self.space = PaperSpace(widths, conditions, allowed)
        self.additive = Additive(self.space, rng.uniform(-0.2, 3, len(conditions)), rng.uniform(0, 1))
        self.scores = [rng.normal(size=w) for w in widths]
        self.archs: list[Arch] = [a for a in product(*map(range, widths)) if self.space.valid(a)]
        self.sums = {arch: self.additive.sum(arch) for arch in self.archs}

    def score(self, arch: Arch) -> float:
        return float(sum(s[o] for s, o in zip(self.scores, arch, strict=True)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    fraction=st.floats(0.05, 1),
    count=st.sampled_from([1, 3, 8]),
    constrained=st.booleans(),
)
def test_the_best_within_the_budget_in_order(seed: int, fraction: float, count: int, constrained: bool) -> None:
    case = Case(seed, constrained)
    limit = float(np.quantile(list(case.sums.values()), fraction)) + 1e-3
    best = sorted((case.score(a) for a in case.archs if case.sums[a] <= limit), reverse=True)[:count]
    found = project(case.space, case.additive, case.scores, limit, count)
    assert len(set(found)) == len(found) == len(best)
    assert all(case.space.valid(a) and case.sums[a] <= limit for a in found)
    assert [case.score(a) for a in found] == pytest.approx(best, abs=GAP)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000), constrained=st.booleans())
def test_extremes_are_exact(seed: int, constrained: bool) -> None:
    case = Case(seed, constrained)
    for cheapest, best in ((True, min), (False, max)):
        found = extreme(case.space, case.additive, cheapest)
        assert case.sums[found] == pytest.approx(best(case.sums.values()), abs=GAP)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_nothing_fits_gives_nothing(seed: int) -> None:
    case = Case(seed, constrained=False)
    assert project(case.space, case.additive, case.scores, min(case.sums.values()) - 1e-3, 3) == []


def test_a_budget_met_exactly_is_met() -> None:
    """The limit that equals a network's own sum keeps it, whatever the solver's tolerance."""
    for seed in range(20):
        case = Case(seed, constrained=False)
        arch = min(case.archs, key=lambda a: case.sums[a])
        assert project(case.space, case.additive, case.scores, case.sums[arch]) == [arch]
