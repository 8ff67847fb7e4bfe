"""On a CUDA device: supernet steps and training, in float32 and bfloat16."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hwnas.core.journal import Journal
from hwnas.core.plugins import load
from hwnas.search.driver import _Journaled
from hwnas.search.strategies.proxyless import Proxyless, ProxylessSettings
from hwnas.testing.estimator import small_means
from hwnas.testing.paper import paper_problem
from hwnas.training.compute import Device
from hwnas.training.network import accuracy, train
from hwnas.training.settings import Compute, Recipe
from hwnas.training.supernet import SharedWeights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(params=[False, True], ids=["fp32", "bf16"])
def device(request: pytest.FixtureRequest) -> Device:
    return Device(Compute(device="cuda", threads=1, bf16=request.param))


def test_supernet_with_architecture_steps(device: Device, tmp_path: Path) -> None:
    means = replace(small_means(tmp_path), device=device)
    weights = SharedWeights(means.space, means.data, means.recipe, device, seed=0)
    ms = [1.0 + i % 3 for i, _ in enumerate(means.space.operators())]
    strategy = Proxyless(paper_problem(means.space, ms, 0.5), ProxylessSettings(warmup=0.0), epochs=2)
    before = strategy.logits.alpha.detach().clone()
    weights.train(
        _Journaled(strategy, strategy.problem, Journal(tmp_path / "journal.jsonl")), tmp_path / "c.safetensors", "t"
    )
    assert all(parameter.is_cuda and parameter.dtype == torch.float32 for parameter in weights.net.parameters())
    assert not torch.equal(strategy.logits.alpha.detach(), before)
    assert 0 <= weights.accuracy(means.space.reference()) <= 1


@pytest.mark.parametrize(
    ("name", "own"), [("darts", {}), ("darts", {"order": 2}), ("snas", {}), ("gdas", {}), ("fbnet", {"warmup": 0.0})]
)
def test_mixtures_are_learned(device: Device, tmp_path: Path, name: str, own: dict) -> None:
    """Weights of paths live on the CPU, operators on the device."""
    means = replace(small_means(tmp_path), device=device)
    weights = SharedWeights(means.space, means.data, means.recipe, device, seed=0)
    plugin = load("strategies", name)
    problem = paper_problem(means.space, [1.0 + i % 3 for i, _ in enumerate(means.space.operators())], 0.5)
    strategy = plugin(problem, plugin.Settings(**own), epochs=2)
    before = strategy.logits.alpha.detach().clone()
    weights.train(_Journaled(strategy, problem, Journal(tmp_path / "journal.jsonl")), None, "t")
    after = strategy.logits.alpha.detach()
    assert not torch.equal(after, before) and not after.isnan().any()


def test_a_replayed_mixture_is_the_network(tmp_path: Path) -> None:
    """Outputs, gradients of weights and of gates; capturing leaves no trace in the statistics."""
    means = replace(small_means(tmp_path), device=Device(Compute(device="cuda", threads=1)))
    weights = SharedWeights(means.space, means.data, means.recipe, means.device, seed=0)
    x, _ = next(weights.data.weights.on(means.device.torch).plain(16))
    start = [buffer.clone() for buffer in weights.net.buffers()]
    (replayed, after_replay), (eager, after_eager) = (
        _mixture_of(weights, run, x, start) for run in (weights.run, weights.net)
    )
    for once, again in zip(replayed + after_replay, eager + after_eager, strict=True):
        assert torch.allclose(once.float(), again.float(), rtol=1e-3, atol=1e-4)
    assert any(not torch.equal(b, s) for b, s in zip(after_replay, start, strict=True))


def _mixture_of(
    weights: SharedWeights, run: Callable, x: torch.Tensor, start: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Output and gradients, and the statistics that one step leaves behind."""
    weights.net.train()
    for buffer, value in zip(weights.net.buffers(), start, strict=True):
        buffer.copy_(value)
    gates = {
        c: {o: torch.tensor(0.1 + o, device="cuda", requires_grad=True) for o in range(len(choice.options))}
        for c, choice in enumerate(weights.space.choices)
    }
    out = run(x, gates)
    leaves = [gate for paths in gates.values() for gate in paths.values()]
    parameters = [p for p in weights.net.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(out.square().sum(), [*leaves, *parameters], allow_unused=True)
    found = [out.detach().clone(), *(g.clone() for g in gradients if g is not None)]
    return found, [buffer.clone() for buffer in weights.net.buffers()]


def test_training_learns_and_resumes(device: Device, tmp_path: Path) -> None:
    means = small_means(tmp_path)
    recipe = Recipe(epochs=10, batch_size=32, learning_rate=0.1, ema_decay=0.9)
    path = tmp_path / "c.safetensors"
    for _ in range(2):
        torch.manual_seed(0)
        network = train(means.space.build(means.space.reference()), means.data.train, recipe, device, 1, "t", path)
        assert accuracy(network, means.data.train.plain(), device) > 0.6


def test_the_trained_network_is_the_same_on_the_cpu(device: Device, tmp_path: Path) -> None:
    means = small_means(tmp_path)
    network = train(means.space.build(means.space.reference()), means.data.train, means.recipe, device, 1, "t")
    x, _ = next(means.data.search.plain(16))
    with torch.no_grad():
        on_gpu, on_cpu = network(x.cuda()).cpu(), network.cpu()(x)
    assert torch.allclose(on_gpu, on_cpu, atol=1e-2)
