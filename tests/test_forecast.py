"""Forecasts of a full training: what is exact is found, intervals hold as often as they say, proxies by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hwnas.calibrate.agreement import agreement
from hwnas.search import proxies
from hwnas.search.curves import describe
from hwnas.search.forecast import Forecast


def test_a_function_without_noise_is_found() -> None:
    x = np.linspace(-1, 1, 30)[:, None]
    y = 0.8 + 0.1 * np.sin(2 * x[:, 0])
    asked = np.array([[-0.42], [0.17], [0.66]])
    for forecast, at in zip(Forecast.of_each(x, y, asked), asked[:, 0], strict=True):
        assert forecast.accuracy == pytest.approx(0.8 + 0.1 * np.sin(2 * at), abs=0.003)
        assert forecast.interval_90[0] < forecast.accuracy < forecast.interval_90[1]
        assert forecast.chance_above(forecast.accuracy) == pytest.approx(0.5)
        assert forecast.chance_above(forecast.interval_90[1]) == pytest.approx(0.05, abs=0.001)


def test_intervals_of_noisy_observations_hold_nine_times_in_ten() -> None:
    held = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(260, 2))
        z = 2 + 0.4 * x[:, 0] - 0.2 * x[:, 1] ** 2 + 0.15 * rng.normal(size=260)
        y = 1.005 - np.exp(-z)
        bounds = [forecast.interval_90 for forecast in Forecast.of_each(x[:60], y[:60], x[60:])]
        held += [low <= value <= high for (low, high), value in zip(bounds, y[60:], strict=True)]
    assert 0.85 <= np.mean(held) <= 0.95


def test_equal_accuracies_forecast_themselves() -> None:
    (forecast,) = Forecast.of_each(np.eye(3), np.full(3, 0.7), np.zeros((1, 3)))
    assert forecast.accuracy == pytest.approx(0.7, abs=1e-3)


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 50])
def test_a_curve_of_any_length_is_described_alike(epochs: int) -> None:
    curves = np.random.default_rng(1).uniform(0.1, 0.9, size=(4, epochs, 2))
    features = describe(curves)
    assert features.shape == (4, 14)
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(describe(curves[2:3]), features[2:3])


def linear() -> nn.Module:
    network = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[3.0, -4.0]]))
    return network


def squares(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return ((logits[:, 0] - y) ** 2).mean()


def test_gradient_proxies_by_hand() -> None:
    """One layer, one image (1, 2): output −5, loss 25, ∂L/∂w = 2 · −5 · (1, 2) = (−10, −20)."""
    x, y = torch.tensor([[1.0, 2.0]]), torch.zeros(1)
    assert proxies.grad_norm(linear(), x, y, squares) == pytest.approx(np.hypot(10, 20))
    assert proxies.snip(linear(), x, y, squares) == pytest.approx(3 * 10 + 4 * 20)
    assert proxies.synflow(linear(), x, y, squares) == pytest.approx(np.log10(3 + 4))


def test_naswot_by_hand() -> None:
    """Rectifiers switch alike for images 0 and 0, once of two for 0 and 1: K = [[2, 1], [1, 2]], log 3."""
    network = nn.Sequential(nn.Identity(), nn.ReLU())
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    assert proxies.naswot(network, x, torch.zeros(2), squares) == pytest.approx(np.log(3))


def test_jacov_by_hand_and_nothing_flows() -> None:
    """Equal input gradients: the correlations are all 1, the eigenvalues 2 and 0."""
    x = torch.randn(2, 2)
    k = 1e-5
    expected = -(np.log(2 + k) + 1 / (2 + k) + np.log(k) + 1 / k)
    assert proxies.jacov(linear(), x, torch.zeros(2), squares) == pytest.approx(expected, rel=1e-4)
    dead = nn.Sequential(nn.Linear(2, 2, bias=False))
    nn.init.zeros_(dead[0].weight)
    y = torch.zeros(2, dtype=torch.long)
    assert proxies.jacov(dead, x, y, functional.cross_entropy) == -np.inf
    assert proxies.synflow(dead, x, y, functional.cross_entropy) == -np.inf


def test_proxies_leave_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    before = {name: p.clone() for name, p in network.named_parameters()}
    x, y = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    found = {name: proxy(network, x, y, functional.cross_entropy) for name, proxy in proxies.PROXIES.items()}
    assert all(np.isfinite(value) for value in found.values())
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_the_vote_is_the_mean_place() -> None:
    scores = np.array([[1.0, 30.0], [2.0, 10.0], [3.0, np.nan]])
    np.testing.assert_allclose(proxies.ranks(scores), [0.5, 0.5, 0.5])


def test_agreement_by_hand() -> None:
    """Four networks, one pair of six swapped: τ = (5 − 1) / 6, ρ = 1 − 6·2 / (4·15)."""
    found = agreement([0.1, 0.2, 0.4, 0.3], [0.5, 0.6, 0.7, 0.8], [(0.4, 0.55), (0.7, 0.9), None, None])
    assert found.tau == pytest.approx(4 / 6)
    assert found.spearman == pytest.approx(0.8)
    assert (found.top, found.held) == (0.0, 0.5)
    assert found.tau_low <= found.tau <= found.tau_high


def test_an_estimate_that_is_the_same_for_all_orders_none() -> None:
    found = agreement([0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5], [None] * 5)
    assert (found.tau, found.spearman, found.held) == (0.0, 0.0, None)
