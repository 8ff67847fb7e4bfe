"""Shared weights: one path a step, resumed to the same bits, judged without being changed."""

from pathlib import Path

import pytest
import torch

from hwnas.core.journal import Journal
from hwnas.search.driver import _Journaled
from hwnas.search.strategies.proxyless import Proxyless, ProxylessSettings
from hwnas.spaces import single_path
from hwnas.testing.estimator import small_means
from hwnas.testing.paper import paper_problem
from hwnas.training.schedule import optimizer_of
from hwnas.training.supernet import SharedWeights


def shared_weights(epochs: int = 2) -> SharedWeights:
    means = small_means(Path())
    recipe = means.recipe.model_copy(update={"epochs": epochs})
    return SharedWeights(means.space, means.data, recipe, means.device, means.seed)


def strategy_for(weights: SharedWeights) -> Proxyless:
    ms = [1.0 + i % 3 for i, _ in enumerate(weights.space.operators())]
    return Proxyless(paper_problem(weights.space, ms, 0.5), ProxylessSettings(warmup=0.0), epochs=2)


def test_options_that_did_not_run_do_not_move() -> None:
    """Also not by momentum, after an earlier step did train them."""
    weights = shared_weights()
    net, space = weights.net, weights.space
    optimizer = optimizer_of(net, weights.recipe)
    batch = next(weights.data.weights.plain(32))
    archs = [tuple(option for _ in space.choices) for option in (0, 1)]
    for arch in archs:
        weights.weight_step([single_path(arch)], batch, optimizer)
    norms = {arch: [m for k, m in space.inherited(net, arch).items() if ".norm.weight" in k] for arch in archs}
    mine = {id(tensor) for tensor in norms[archs[1]]}
    only_first = [tensor for tensor in norms[archs[0]] if id(tensor) not in mine]
    before = [tensor.detach().clone() for tensor in only_first]
    weights.weight_step([single_path(archs[1])], batch, optimizer)
    assert only_first and all(torch.equal(a, b) for a, b in zip(only_first, before, strict=True))


def test_judging_leaves_the_supernet_as_it_was() -> None:
    weights = shared_weights()
    before = {key: tensor.clone() for key, tensor in weights.net.state_dict().items()}
    arch = weights.space.reference()
    first = weights.accuracy(arch)
    assert weights.accuracy(arch) == first
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights.net.state_dict().items())


@pytest.mark.parametrize("updates", [5, 14])
def test_a_resumed_search_ends_in_the_same_bits(tmp_path: Path, updates: int) -> None:
    """9 steps an epoch: stopped in the first and in the second; weights and distribution alike."""

    class Stopping(Proxyless):
        def update(self, loss_of, progress, generator):
            if self.steps == updates:
                raise KeyboardInterrupt
            super().update(loss_of, progress, generator)

    def train(strategy: Proxyless, weights: SharedWeights, path: Path | None) -> None:
        weights.train(_Journaled(strategy, strategy.problem, Journal(tmp_path / "journal.jsonl")), path, "t")

    straight, stopped, resumed = (shared_weights() for _ in range(3))
    learned, problem = strategy_for(straight), strategy_for(straight).problem
    train(learned, straight, None)
    path = tmp_path / "supernet.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(Stopping(problem, learned.settings, epochs=2), stopped, path)
    learned_again = strategy_for(resumed)
    train(learned_again, resumed, path)

    state = straight.net.state_dict()
    assert [key for key, tensor in resumed.net.state_dict().items() if not torch.equal(tensor, state[key])] == []
    assert torch.equal(learned_again.logits.alpha, learned.logits.alpha)
    assert learned_again.facts() == learned.facts()
