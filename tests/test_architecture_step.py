"""What an architecture step of ProxylessNAS leaves alone in a real supernet, and that Zero is learned."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hwnas.search.strategies.proxyless import Proxyless, ProxylessSettings
from hwnas.spaces._chain import mix
from hwnas.testing.estimator import small_means
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem
from hwnas.training.supernet import SharedWeights


@pytest.fixture
def weights(tmp_path: Path) -> SharedWeights:
    means = small_means(tmp_path)
    return SharedWeights(means.space, means.data, means.recipe, means.device, means.seed)


def proxyless(weights: SharedWeights) -> Proxyless:
    ms = [1.0 + i % 3 for i, _ in enumerate(weights.space.operators())]
    return Proxyless(paper_problem(weights.space, ms, 0.5), ProxylessSettings(warmup=0.0), epochs=1)


def test_weights_and_statistics_are_as_the_weight_step_left_them(weights: SharedWeights) -> None:
    class Watched:
        """Compares the supernet before an architecture step with what the next weight step finds."""

        compared = 0

        def __init__(self, strategy: Proxyless) -> None:
            self.strategy, self.left = strategy, {}
            self.state, self.load_state = strategy.state, strategy.load_state

        def gates(self, generator):
            self.compare()
            return self.strategy.gates(generator)

        def update(self, loss_of, progress, generator):
            self.left = {key: tensor.clone() for key, tensor in weights.net.state_dict().items()}
            self.strategy.update(loss_of, progress, generator)

        def epoch_done(self, epoch):
            self.compare()

        def compare(self):
            now = weights.net.state_dict()
            assert [key for key in self.left if not torch.equal(self.left[key], now[key])] == []
            self.compared += bool(self.left)

    strategy = proxyless(weights)
    before = strategy.logits.alpha.detach().clone()
    watched = Watched(strategy)
    weights.train(watched, None, "watched")
    assert watched.compared > 10
    assert not torch.equal(strategy.logits.alpha.detach(), before)


def test_an_architecture_step_leaves_no_gradient_on_weights(weights: SharedWeights) -> None:
    strategy = proxyless(weights)
    batch = next(weights.data.search.plain(16))
    strategy.update(lambda gates: weights._loss(gates, batch), 0.5, torch.Generator().manual_seed(0))
    assert all(parameter.grad is None for parameter in weights.net.parameters())


def test_the_inactive_path_gives_its_gate_a_gradient_and_its_weights_none() -> None:
    torch.manual_seed(0)
    options = nn.ModuleList([nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)])
    x = torch.randn(3, 2, 4, 4, requires_grad=True)
    gates = [torch.tensor(1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)]
    mix(options, x, {0: gates[0], 1: gates[1]}).square().sum().backward()
    d_output = 2 * options[0](x)
    assert torch.allclose(gates[0].grad, (d_output * options[0](x)).sum(), rtol=1e-5)
    assert torch.allclose(gates[1].grad, (d_output * options[1](x)).sum(), rtol=1e-4)
    assert options[0].weight.grad is not None and options[1].weight.grad is None
    only_active = torch.autograd.grad(options[0](x).square().sum(), x)[0]
    assert torch.allclose(x.grad, only_active, rtol=1e-5)


@pytest.mark.parametrize("zero_is_active", [True, False])
def test_zero_is_learned_active_or_not(zero_is_active: bool) -> None:
    """The authors' code skips a pair whose active option is Zero; here its gate has ⟨∂L/∂y, x⟩ like any other."""
    torch.manual_seed(0)
    options = nn.ModuleList([nn.Conv2d(2, 2, 1), nn.Identity()])
    x = torch.randn(3, 2, 4, 4)
    block, zero = (torch.tensor(float(on), requires_grad=True) for on in (not zero_is_active, zero_is_active))
    mix(options, x, {0: block, 1: zero}).square().sum().backward()
    d_output = 2 * (x if zero_is_active else options[0](x))
    assert zero.grad.item() == pytest.approx((d_output * x).sum().item(), rel=1e-4)
    assert block.grad.item() == pytest.approx((d_output * options[0](x)).sum().item(), rel=1e-4)


@pytest.mark.parametrize("good", [True, False])
def test_zero_wins_or_loses_by_what_it_does_to_the_loss(good: bool) -> None:
    """A Zero option whose gate lowers the loss gains probability, one that raises it loses."""
    space = PaperSpace([3, 3], one_operator_an_option([3, 3]))
    strategy = Proxyless(paper_problem(space, [1.0] * 6, 0.0), ProxylessSettings(warmup=0.0), epochs=1)
    zero = torch.tensor([0.5, 0.5, 0.0 if good else 1.0])
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        strategy.update(
            lambda gates: sum(zero[o] * g for paths in gates.values() for o, g in paths.items()), 0.5, generator
        )
    probability = strategy.logits.probabilities()[:, 2]
    assert (probability > 0.6).all() if good else (probability < 0.15).all()
