"""E[latency] over a distribution: exact at its corners, with the right slope everywhere."""

from itertools import product
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.arch import Arch
from hwnas.latency.additive import Additive
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.paper import PaperSpace

WIDTHS = (3, 2, 4)


@st.composite
def additives(draw: st.DrawFn) -> Additive:
    """Up to 12 operators that hang on none to three choices each."""
    options = [st.integers(0, width - 1) for width in WIDTHS]
    condition = st.sets(st.integers(0, len(WIDTHS) - 1)).flatmap(
        lambda choices: st.tuples(*(st.tuples(st.just(c), options[c]) for c in sorted(choices)))
    )
    conditions = draw(st.lists(condition, min_size=1, max_size=12))
    values = draw(st.lists(st.floats(-1, 50), min_size=len(conditions), max_size=len(conditions)))
    return Additive(PaperSpace(WIDTHS, conditions), np.array(values), draw(st.floats(-1, 5)))


def one_hot(arch: Arch, widths: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.eye(w, dtype=torch.float64)[o] for o, w in zip(arch, widths, strict=True)]


def every_arch() -> list[Arch]:
    return list(product(*map(range, WIDTHS)))


@given(additives())
def test_one_hot_probabilities_give_the_discrete_sum(additive: Additive) -> None:
    for arch in every_arch():
        assert additive.expected(one_hot(arch, WIDTHS)).item() == pytest.approx(additive.sum(arch), abs=1e-9)


@given(additives())
def test_sum_many_equals_sum(additive: Additive) -> None:
    archs = every_arch()
    every = [additive.sum(a) for a in archs]
    assert additive.sum_many(np.array(archs)).tolist() == every, (
        "to the last bit: a limit may be exactly a network's sum"
    )
    plain = [additive.constant + sum(additive.values[additive.switched(a)]) for a in archs]
    assert every == pytest.approx(plain, abs=1e-9)


@settings(deadline=None)
@given(additives(), st.integers(0, 1000))
def test_it_is_the_mean_over_all_networks(additive: Additive, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = [torch.softmax(torch.randn(w, generator=generator, dtype=torch.float64), 0) for w in WIDTHS]
    chances = [float(np.prod([p[c][o] for c, o in enumerate(arch)])) for arch in every_arch()]
    mean = sum(chance * additive.sum(arch) for chance, arch in zip(chances, every_arch(), strict=True))
    assert additive.expected(p).item() == pytest.approx(mean, abs=1e-9)


@settings(deadline=None)
@given(additives(), st.integers(0, 1000))
def test_gradient_equals_finite_differences(additive: Additive, seed: int) -> None:
    """In the α behind the probabilities, in float64."""
    generator = torch.Generator().manual_seed(seed)
    alphas = [torch.randn(w, generator=generator, dtype=torch.float64).requires_grad_() for w in WIDTHS]
    assert torch.autograd.gradcheck(lambda *a: additive.expected([torch.softmax(x, 0) for x in a]), alphas)


def test_on_the_default_space() -> None:
    space = Mobile(MobileSettings(), channels=1, classes=10)
    values = np.random.default_rng(0).uniform(0.01, 1, len(space.operators()))
    additive, widths = Additive(space, values, 0.1), tuple(len(c.options) for c in space.choices)
    for arch in [space.random(Random(seed)) for seed in range(100)]:
        by_hand = 0.1 + sum(v for c, v in zip(space.operators(), values, strict=True) if c in space.conditions(arch))
        assert additive.sum(arch) == pytest.approx(by_hand, abs=1e-9)
        assert additive.expected(one_hot(arch, widths)).item() == pytest.approx(by_hand, abs=1e-9)
