"""Operators that behave differently inside a network than alone: the shrunk deviations learn it from 40 networks."""

import numpy as np
import pytest
import torch

from hwnas.latency.additive import Additive
from hwnas.latency.correction import features, fit
from hwnas.latency.table import MeasuredNetwork
from hwnas.operators import cost
from hwnas.spaces.mobile import Mobile, MobileSettings

SPACE = Mobile(MobileSettings(), channels=1, classes=10)
ALONE = Additive(SPACE, np.array([0.002 + cost(c.spec)[2] / 2e8 for c in SPACE.operators()]))


def networks(inside: Additive, count: int, seed: int, noise: float) -> list[MeasuredNetwork]:
    """Random architectures whose operators take `inside` ms there, measured with relative noise."""
    rng = np.random.default_rng(seed)
    archs = [tuple(int(rng.integers(len(c.options))) for c in SPACE.choices) for _ in range(count)]
    medians = [inside.sum(arch) * float(1 + noise * rng.standard_normal()) for arch in archs]
    return [MeasuredNetwork(arch=a, median_ms=ms, p90_ms=ms) for a, ms in zip(archs, medians, strict=True)]


def errors(inside: Additive, columns: int | None) -> np.ndarray:
    """Relative, on 400 fresh networks; `columns`: of the features that the fit may use."""
    seen, fresh = networks(inside, 40, 0, 0.01), networks(inside, 400, 1, 0.0)
    fitted = fit(features(ALONE, [n.arch for n in seen])[:, :columns], np.array([n.median_ms for n in seen]))
    predicted = features(ALONE, [n.arch for n in fresh])[:, :columns] @ fitted.coefficients
    return np.abs(predicted / np.array([n.median_ms for n in fresh]) - 1)


def slowed(**deviations: float) -> Additive:
    """Inside networks, blocks whose kernel is so take so much longer."""
    factors = [
        1 + deviations.get(f"kernel{c.spec.attributes().get('kernel')}", 0.0) if c.spec.kind == "mbconv" else 1.0
        for c in SPACE.operators()
    ]
    return Additive(SPACE, ALONE.values * np.array(factors))


def test_a_deviation_that_operators_share_is_learnt() -> None:
    inside = slowed(kernel3=-0.1, kernel7=0.1)
    assert errors(inside, None).mean() < 0.5 * errors(inside, 3).mean()


def test_where_nothing_deviates_the_noise_is_not_learnt() -> None:
    assert errors(ALONE, None).mean() < 0.005

    seen = networks(slowed(kernel5=0.1), 40, 0, 0.01)
    x = features(ALONE, [n.arch for n in seen])
    fitted = fit(x, np.array([n.median_ms for n in seen]))
    assert fitted.form == "deviations"
    corrected = fitted.corrected(ALONE)
    for network, row in zip(seen, x, strict=True):
        assert corrected.sum(network.arch) == pytest.approx(float(row @ fitted.coefficients), rel=1e-12)
        one_hot = [
            torch.eye(len(c.options), dtype=torch.float64)[o] for c, o in zip(SPACE.choices, network.arch, strict=True)
        ]
        assert float(corrected.expected(one_hot)) == pytest.approx(corrected.sum(network.arch), abs=1e-9)
