"""DARTS, SNAS, GDAS and FBNet against their papers' formulas, and in a real supernet."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.config import validate
from hwnas.core.journal import Journal
from hwnas.core.plugins import load
from hwnas.search.driver import _Journaled
from hwnas.search.strategies import Relaxation
from hwnas.spaces import single_path
from hwnas.spaces.nasbench201 import Nasbench201, Nasbench201Settings
from hwnas.testing.estimator import small_means
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices
from hwnas.training.supernet import LossOf, SharedWeights, beside

WIDTHS = (5, 1, 3)
METHODS = {
    "darts": ("darts", {}),
    "darts, second order": ("darts", {"order": 2}),
    "snas": ("snas", {}),
    "gdas": ("gdas", {}),
    "fbnet": ("fbnet", {"warmup": 0.0, "second_phase": 0.5}),
}


def strategy_on(problem, name: str, epochs: int = 10, **own) -> Relaxation:
    plugin = load("strategies", name)
    return plugin(problem, validate(plugin.Settings, own, "strategy"), epochs)


def on_paper(name: str, alpha_seed: int = 0, spread: float = 1.0, **own) -> Relaxation:
    problem = paper_problem(PaperSpace(WIDTHS, one_operator_an_option(WIDTHS)), prices(sum(WIDTHS), 3), 0.5)
    strategy = strategy_on(problem, name, **own)
    noise = torch.randn(strategy.logits.alpha.shape, generator=seeded(alpha_seed), dtype=torch.float64)
    with torch.no_grad():
        strategy.logits.alpha.add_(spread * noise)
    return strategy


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loss_of(search, again=None, taken=0.0, weights=(), **sgd) -> LossOf:
    optimizer = torch.optim.SGD(list(weights) or [torch.zeros(1, requires_grad=True)], **{"lr": 0.1} | sgd)
    return LossOf(search, again or search, torch.tensor(taken), optimizer)


def weighted(seed: int, quality=None):
    """A loss that is linear in the gates, and its slopes."""
    quality = quality or [torch.randn(w, generator=seeded(seed), dtype=torch.float64) for w in WIDTHS]

    def loss(gates):
        return 1.0 + sum(quality[c][o] * (1.0 if g is None else g) for c, ps in gates.items() for o, g in ps.items())

    return loss, quality


def never(gates):
    raise AssertionError("the search split was asked")


def caught(strategy: Relaxation, loss: LossOf, progress: float = 0.0, seed: int = 0) -> torch.Tensor:
    """The gradient that reaches α's optimizer in one update."""
    gradients = []
    strategy.logits.step = gradients.append
    strategy.update(loss, progress, seeded(seed))
    return gradients[0]


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["darts", "snas", "fbnet"]),
    alpha_seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.01, 1.0, 30.0]),
    tau=st.sampled_from([5.0, 1.0, 0.03, 1e-4]),
)
def test_a_mixture_runs_every_option_with_weights_that_sum_to_one(name, alpha_seed, spread, tau) -> None:
    strategy = on_paper(name, alpha_seed, spread)
    strategy.temperature = tau
    gates = strategy.gates(seeded(alpha_seed))
    assert [list(paths) for paths in gates.values()] == [list(range(width)) for width in WIDTHS]
    assert gates[1] == {0: None}
    for choice in (0, 2):
        weights = [gate.item() for gate in gates[choice].values()]
        assert min(weights) >= 0 and sum(weights) == pytest.approx(1.0, abs=1e-12)


def test_gumbel_samples_become_draws_from_the_distribution() -> None:
    strategy = on_paper("gdas", 1)
    strategy.temperature, generator = 1e-6, seeded(0)
    z = torch.stack([strategy.sample(generator).detach() for _ in range(4000)])
    assert torch.allclose(z.max(dim=2).values, torch.ones(()).double(), atol=1e-3)
    assert torch.allclose(z.mean(0), strategy.logits.probabilities(), atol=0.03)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), tau=st.sampled_from([10.0, 1.0, 0.2]))
def test_the_gradient_of_gdas_is_the_papers(seed: int, tau: float) -> None:
    """∂L/∂g_i · z_i (δ_ij − z_j) / τ of the option i that ran, without a latency term."""
    strategy = on_paper("gdas", seed, tau_start=tau, tau_end=tau)
    loss, quality = weighted(seed)
    ran = {}
    gradient = caught(strategy, loss_of(lambda gates: (ran.update(gates), loss(gates))[1]), seed=seed)
    z = strategy.sample(seeded(seed)).detach()
    for choice in (0, 2):
        ((i, gate),) = ran[choice].items()
        assert i == int(z[choice].argmax()) and gate.item() == 1.0
        by_hand = [
            float(quality[choice][i] * z[choice, i] * (float(i == j) - z[choice, j])) / tau
            for j in range(WIDTHS[choice])
        ]
        assert gradient[choice, : WIDTHS[choice]].numpy() == pytest.approx(by_hand, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("tau", [10.0, 0.1, 1e-8])
def test_gdas_runs_the_discrete_path_bit_for_bit(tau: float) -> None:
    torch.manual_seed(0)
    space = Nasbench201(Nasbench201Settings(resolution=8, width=4, cells=1), channels=3, classes=10)
    strategy = strategy_on(paper_problem(space, prices(len(space.operators()), 0), 0.5), "gdas")
    strategy.temperature, generator = tau, seeded(0)
    net, x = space.supernet().eval(), torch.randn(4, 3, 8, 8)
    for _ in range(20):
        gates = strategy.hard(generator)
        arch = tuple(next(iter(paths)) for paths in gates.values())
        assert torch.equal(net(x, gates), net(x, single_path(arch)))


def curved(seed: int):
    """Two losses of weights and gates with every second derivative, in float64: two layers, weighted options."""
    draw = partial(torch.randn, generator=seeded(seed), dtype=torch.float64)
    weights = [draw(8, 4).requires_grad_(), draw(8).requires_grad_()]
    data = [(draw(16, 4), draw(16)) for _ in range(2)]

    def loss_on(part, ws, gates):
        x, y = data[part]
        hidden = torch.tanh(x @ ws[0].T)
        mixed = sum(g * torch.roll(hidden, o, 1) for o, g in gates[0].items())
        scale = sum(g * (1 + o) for o, g in gates[2].items())
        return ((scale * mixed @ ws[1] - y) ** 2).mean()

    return weights, loss_on


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_second_order_is_the_gradient_through_one_unrolled_step(seed: int, momentum: bool, nesterov: bool) -> None:
    """Against autograd through w' as a function of α; and w' itself against a step of the weights' optimizer."""
    weights, loss_on = curved(seed)
    strategy = on_paper("darts", seed, order=2)
    sgd = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": nesterov}
    asked = loss_of(partial(loss_on, 1, weights), partial(loss_on, 0, weights), weights=weights, **sgd)
    if momentum:
        for weight in weights:
            asked.optimizer.state[weight]["momentum_buffer"] = 0.1 * torch.ones_like(weight)
    before = [weight.detach().clone() for weight in weights]
    ours = strategy.unrolled(asked)
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True)), "the weights were left elsewhere"

    gates = strategy.relaxed()
    gradients = torch.autograd.grad(loss_on(0, weights, gates), weights, create_graph=True)
    ahead = []
    for w, g in zip(weights, gradients, strict=True):
        moved = g + 0.01 * w + (0.9 * 0.1 if momentum else 0.0)
        ahead.append(w - 0.05 * (g + 0.01 * w + 0.9 * moved if nesterov else moved))
    exact = torch.autograd.grad(strategy.total(loss_on(1, ahead, gates)), strategy.logits.alpha)[0]
    first_order = torch.autograd.grad(
        strategy.total(loss_on(1, [w.detach() for w in ahead], strategy.relaxed())), strategy.logits.alpha
    )[0]
    error, correction = (ours - exact).norm(), (first_order - exact).norm()
    assert error < 1e-3 * exact.norm() and error < 0.01 * correction, "not the second-order term"

    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.detach()
    asked.optimizer.step()
    assert all(torch.allclose(w, there, rtol=1e-12) for w, there in zip(weights, ahead, strict=True))


def test_first_order_darts_is_the_gradient_at_the_weights_as_they_are() -> None:
    weights, loss_on = curved(0)
    strategy = on_paper("darts", 0)
    ours = caught(strategy, loss_of(partial(loss_on, 1, weights), never))
    loss = strategy.total(loss_on(1, weights, strategy.relaxed()))
    assert torch.equal(ours, torch.autograd.grad(loss, strategy.logits.alpha)[0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["multiplier", "paper", "mul-log"]))
def test_snas_learns_from_the_loss_of_the_weight_step_alone(seed: int, kind: str) -> None:
    """α's gradient is that of the weight step's loss with the latency term, through the very gates that it ran."""
    strategy = on_paper("snas", seed, latency={"kind": kind, "strength": 0.6})
    strategy.term.multiplier = 1.7
    loss, _ = weighted(seed)
    value = loss(strategy.gates(seeded(seed)))
    value.backward()
    ours = caught(strategy, loss_of(never, never, taken=value.item()))
    strategy.term.multiplier = 1.7
    whole = strategy.total(loss(strategy.mixture(strategy.sample(seeded(seed)))))
    exact = torch.autograd.grad(whole, strategy.logits.alpha)[0]
    assert torch.allclose(ours, exact, rtol=1e-5, atol=1e-9, equal_nan=True)


def test_one_step_of_snas_moves_weights_and_architecture(tmp_path: Path) -> None:
    weights, strategy = real("snas", tmp_path)
    optimizer = torch.optim.SGD(weights.net.parameters(), lr=0.1)
    alpha = strategy.logits.alpha.detach().clone()
    before = [p.detach().clone() for p in weights.net.parameters()]
    batch = next(weights.data.weights.plain(32))
    weights.step(strategy, batch, iter(()), optimizer, 0.5, seeded(0))
    assert not torch.equal(strategy.logits.alpha.detach(), alpha)
    assert any(not torch.equal(a, b) for a, b in zip(weights.net.parameters(), before, strict=True))


def test_fbnet_learns_in_the_last_part_of_an_epoch() -> None:
    strategy = on_paper("fbnet", second_phase=0.25, warmup=0.1)
    loss, _ = weighted(0)
    learned = []
    for step in range(24):
        before = strategy.logits.alpha.detach().clone()
        strategy.update(loss_of(loss), step / 8, seeded(step))
        learned.append(not torch.equal(before, strategy.logits.alpha.detach()))
    assert np.flatnonzero(learned).tolist() == [14, 15, 22, 23], (
        "of three epochs of eight steps, the first being warm-up"
    )


@pytest.mark.parametrize("steps", range(1, 13))
def test_fbnet_learns_however_few_steps_an_epoch_has(steps: int) -> None:
    strategy = on_paper("fbnet", warmup=0.0)
    loss, _ = weighted(0)
    learned = []
    for step in range(9 * steps):
        before = strategy.logits.alpha.detach().clone()
        strategy.update(loss_of(loss), step // steps + step % steps / steps, seeded(step))
        learned.append(not torch.equal(before, strategy.logits.alpha.detach()))
    each = np.array(learned).reshape(9, steps)[1:]  # how long a step is is known from the second on
    last = max(1, -(-steps // 5))
    assert (each.sum(1) == each.sum(1)[0]).all() and 1 <= each.sum(1)[0] <= last and each[:, -1].all()


def test_the_latency_loss_of_fbnet_is_the_papers_but_for_a_factor() -> None:
    strategy = on_paper("fbnet", latency={"kind": "mul-log", "strength": 0.6}, warmup=0.0, second_phase=1.0)
    loss, _ = weighted(3)
    ours = caught(strategy, loss_of(loss), seed=5)
    z, alpha = strategy.sample(seeded(5)), strategy.logits.alpha
    expected_ms = strategy.problem.latency.expected(strategy.logits.split(torch.softmax(alpha, 1)))
    paper = 0.2 * loss(strategy.mixture(z)) * torch.log(1e3 * expected_ms) ** 0.6
    factor = np.log(1e3 * strategy.problem.limit_ms) ** -0.6
    exact = factor * torch.autograd.grad(paper, alpha)[0]
    assert torch.allclose(ours, exact, rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize(("name", "start", "end"), [("snas", 1.0, 0.03), ("gdas", 10.0, 0.1), ("fbnet", 5.0, 0.09)])
def test_the_temperature_falls_and_is_restored(name: str, start: float, end: float) -> None:
    strategy = on_paper(name)
    loss, _ = weighted(0)
    seen = [strategy.temperature]
    for progress in (2.5, 5.0, 10.0, 12.0):
        strategy.gates(seeded(0))
        strategy.update(loss_of(loss), progress, seeded(0))
        seen.append(strategy.temperature)
    assert seen[0] == start and seen[-1] == pytest.approx(end) and seen == sorted(seen, reverse=True)
    other = on_paper(name)
    other.load_state(strategy.state())
    assert other.temperature == strategy.temperature


def real(name: str, folder: Path, **own) -> tuple[SharedWeights, Relaxation]:
    means = small_means(folder)
    weights = SharedWeights(means.space, means.data, means.recipe, means.device, means.seed)
    problem = paper_problem(means.space, prices(len(means.space.operators()), 1), 0.5)
    return weights, strategy_on(problem, name, epochs=2, **own)


@pytest.mark.parametrize(("name", "own"), METHODS.values(), ids=METHODS.keys())
def test_a_search_in_a_supernet_resumes_to_the_same_bits(name: str, own: dict, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def train(folder: Path, stop: bool) -> tuple[SharedWeights, Relaxation]:
        weights, strategy = real(name, folder, **own)
        companion = _Journaled(strategy, strategy.problem, Journal(folder / "journal.jsonl"))
        if stop:
            companion.update = lambda loss_of, progress, generator: (
                (_ for _ in ()).throw(Killed) if progress > 1 else (strategy.update(loss_of, progress, generator))
            )
        weights.train(companion, folder / "c.safetensors", "t")
        return weights, strategy

    for folder in ("straight", "resumed"):
        (tmp_path / folder).mkdir()
    straight = train(tmp_path / "straight", stop=False)
    with pytest.raises(Killed):
        train(tmp_path / "resumed", stop=True)
    resumed = train(tmp_path / "resumed", stop=False)
    assert torch.equal(straight[1].logits.alpha, resumed[1].logits.alpha)
    ours, theirs = straight[0].net.state_dict(), resumed[0].net.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    fresh = real(name, tmp_path, **own)[1]
    assert not torch.equal(fresh.logits.alpha, straight[1].logits.alpha), "nothing was learned"


@pytest.mark.parametrize(("name", "own"), METHODS.values(), ids=METHODS.keys())
def test_an_architecture_step_leaves_weights_and_statistics(name: str, own: dict, tmp_path: Path) -> None:
    weights, strategy = real(name, tmp_path, **own)
    left = {}

    class Watched(type(strategy)):
        def update(self, loss_of, progress, generator):
            left.update({key: tensor.clone() for key, tensor in weights.net.state_dict().items()})
            super().update(loss_of, progress, generator)

        def gates(self, generator):
            now = weights.net.state_dict()
            assert all(torch.equal(left[key], now[key]) for key in left)
            return super().gates(generator)

        def epoch_done(self, epoch):
            assert left

    strategy.__class__ = Watched
    weights.train(strategy, None, "t")


def test_weights_of_paths_travel_to_the_device_but_for_pairs_with_a_zero() -> None:
    device = torch.device("meta")
    plain, pair = {0: None}, {1: torch.tensor(1.0), 4: torch.tensor(0.0)}
    mixture = {o: torch.tensor(0.25, dtype=torch.float64, requires_grad=True) for o in (2, 0, 1, 3)}
    placed = beside({0: plain, 1: pair, 2: mixture}, device)
    assert placed[0] is plain and placed[1] is pair and list(placed[2]) == [2, 0, 1, 3]
    assert all(w.device == device and w.dtype == torch.float32 and w.requires_grad for w in placed[2].values())
    gates = {0: plain, 1: pair, 2: mixture}
    assert beside(gates, torch.device("cpu")) is gates
