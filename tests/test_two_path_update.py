"""ProxylessNAS's architecture step against the paper's formula, computed anew here without torch's autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.config import validate
from hwnas.search.strategies.proxyless import Proxyless, ProxylessSettings
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices

WIDTHS = (5, 3, 4)


class Caught(Proxyless):
    """Notes the gradient that reaches the optimizer, and the α before and after."""

    def update(self, loss_of, progress, generator):
        self.before = self.logits.alpha.detach().clone()
        step = self.logits.step
        self.logits.step = lambda gradient: (setattr(self, "gradient", gradient.clone()), step(gradient))
        super().update(loss_of, progress, generator)
        self.logits.step = step


def strategy_with(alpha_seed: int, latency: dict[str, object], multiplier: float = 0.0) -> Caught:
    problem = paper_problem(PaperSpace(WIDTHS, one_operator_an_option(WIDTHS)), prices(sum(WIDTHS), 3), 0.5)
    strategy = Caught(problem, validate(ProxylessSettings, {"warmup": 0.0, "latency": latency}, "strategy"), epochs=1)
    generator = torch.Generator().manual_seed(alpha_seed)
    with torch.no_grad():
        noise = torch.randn(strategy.logits.alpha.shape, generator=generator, dtype=torch.float64)
        strategy.logits.alpha.add_(noise)
    strategy.term.multiplier = multiplier
    return strategy


def run_step(strategy: Caught, seed: int) -> tuple[dict[int, dict[int, float]], list[list[float]], float]:
    """One architecture step on a bilinear loss: (gates it asked for, ∂L/∂g per pair by hand, the loss)."""
    rng = np.random.default_rng(seed)
    weight = [rng.standard_normal(w).tolist() for w in WIDTHS]
    seen: dict[int, dict[int, float]] = {}

    def loss_of(gates):
        total = torch.tensor(1.3)
        for choice, paths in gates.items():
            seen[choice] = {option: gate.item() for option, gate in paths.items()}
            for option, gate in paths.items():
                total = total + gate * weight[choice][option]
        return total

    strategy.update(loss_of, 0.5, torch.Generator().manual_seed(seed))
    by_hand = [[weight[choice][option] for option in seen[choice]] for choice in range(len(WIDTHS))]
    loss = 1.3 + sum(g * weight[c][o] for c, paths in seen.items() for o, g in paths.items())
    return seen, by_hand, loss


def pair_gradient(q: np.ndarray, d_gates: np.ndarray) -> np.ndarray:
    """∂L/∂α_i = Σ_j ∂L/∂g_j · q_j (δ_ij − q_i), written out."""
    return np.array([sum(d_gates[j] * q[j] * ((i == j) - q[i]) for j in range(2)) for i in range(2)])


def softmax(values: np.ndarray) -> np.ndarray:
    e = np.exp(values - values.max())
    return e / e.sum()


@settings(max_examples=40, deadline=None)
@given(alpha_seed=st.integers(0, 10_000), seed=st.integers(0, 10_000), term=st.sampled_from(["multiplier", "paper"]))
def test_gradient_is_the_papers_with_the_latency_in_the_pair(alpha_seed: int, seed: int, term: str) -> None:
    strategy = strategy_with(alpha_seed, {"kind": term, "strength": 0.7}, multiplier=1.9)
    weight = {"multiplier": 1.9, "paper": 0.7}[term]
    gates, d_gates, _ = run_step(strategy, seed)
    expected = np.zeros(strategy.before.shape)
    ms = dict(enumerate(np.split(strategy.problem.additive.values, np.cumsum(WIDTHS)[:-1])))
    for choice, paths in gates.items():
        pair = list(paths)
        q = softmax(strategy.before[choice, pair].numpy())
        latency = weight * ms[choice][pair] / strategy.problem.limit_ms
        expected[choice, pair] = pair_gradient(q, np.array(d_gates[choice]) + latency)
    assert np.allclose(strategy.gradient.numpy(), expected, rtol=1e-5, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(alpha_seed=st.integers(0, 10_000), seed=st.integers(0, 10_000))
def test_mul_log_gradient_equals_finite_differences(alpha_seed: int, seed: int) -> None:
    """0.2·CE·(log E/log T)^β with E over the pairs' renormalised probabilities, CE's own slope being ∂L/∂g."""
    strategy = strategy_with(alpha_seed, {"kind": "mul-log", "strength": 0.6})
    gates, d_gates, loss = run_step(strategy, seed)
    pairs = [list(gates[choice]) for choice in range(len(WIDTHS))]
    ms = np.split(strategy.problem.additive.values, np.cumsum(WIDTHS)[:-1])
    old = [strategy.before[c, pair].numpy() for c, pair in enumerate(pairs)]
    old_q = [softmax(a) for a in old]

    def objective(alphas: list[np.ndarray]) -> float:
        q = [softmax(a) for a in alphas]
        cross_entropy = loss + sum(float(np.dot(d_gates[c], q[c] - old_q[c])) for c in range(len(pairs)))
        expected_ms = strategy.problem.additive.constant + sum(float(q[c] @ ms[c][p]) for c, p in enumerate(pairs))
        logs = np.log(expected_ms * 1e3) / np.log(strategy.problem.limit_ms * 1e3)
        return 0.2 * cross_entropy * logs**0.6

    for c, pair in enumerate(pairs):
        for i, option in enumerate(pair):
            up, down = ([a.copy() for a in old] for _ in range(2))
            up[c][i] += 1e-5
            down[c][i] -= 1e-5
            slope = (objective(up) - objective(down)) / 2e-5
            assert strategy.gradient[c, option].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(alpha_seed=st.integers(0, 10_000), seed=st.integers(0, 10_000))
def test_only_the_pair_moves(alpha_seed: int, seed: int) -> None:
    """After the rescale every other candidate has the probability it had, and so has the pair together."""
    strategy = strategy_with(alpha_seed, {})
    before = strategy.logits.probabilities()
    gates, _, _ = run_step(strategy, seed)
    after = strategy.logits.probabilities()
    for choice, paths in gates.items():
        assert sorted(paths.values()) == [0.0, 1.0]
        others = [o for o in range(WIDTHS[choice]) if o not in paths]
        assert torch.allclose(after[choice, others], before[choice, others], rtol=0, atol=1e-12)
        assert after[choice, list(paths)].sum().item() == pytest.approx(before[choice, list(paths)].sum().item())
        assert not torch.equal(after[choice, list(paths)], before[choice, list(paths)])


def test_pairs_and_active_paths_follow_the_probabilities() -> None:
    """Options are drawn without replacement by p, and the active one of a pair by its renormalised q."""
    strategy = strategy_with(1, {})
    frozen = strategy.logits.alpha.detach().clone()
    strategy.logits.step = lambda gradient: None
    p = strategy.logits.probabilities()[1, : WIDTHS[1]].numpy()
    draws, active = np.zeros(WIDTHS[1]), np.zeros(WIDTHS[1])
    generator = torch.Generator().manual_seed(0)

    def loss_of(gates):
        for option, gate in gates[1].items():
            draws[option] += 1
            active[option] += gate.item()
        return torch.stack([g for paths in gates.values() for g in paths.values()]).sum()

    rounds = 3000
    for _ in range(rounds):
        Proxyless.update(strategy, loss_of, 0.5, generator)
        assert torch.equal(strategy.logits.alpha.detach(), frozen)
    pairs = {(i, j): p[i] * p[j] / (1 - p[i]) for i in range(len(p)) for j in range(len(p)) if i != j}
    in_pair = [sum(chance for pair, chance in pairs.items() if option in pair) for option in range(len(p))]
    is_active = [
        sum(chance * p[option] / (p[i] + p[j]) for (i, j), chance in pairs.items() if option in (i, j))
        for option in range(len(p))
    ]
    assert np.allclose(draws / rounds, in_pair, atol=0.04)
    assert np.allclose(active / rounds, is_active, atol=0.04)
