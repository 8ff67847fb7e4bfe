"""How the paths of shared weights are drawn: fairness, the sandwich's ends, gradients by the formula, resumed alike."""

import copy
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.search.estimators import _sandwich
from hwnas.search.estimators._fair import Fair
from hwnas.search.estimators._sandwich import Sandwich
from hwnas.search.estimators.shared_weights import SharedWeights, SharedWeightsSettings
from hwnas.spaces import Gates
from hwnas.spaces.nasbench201 import Nasbench201, Nasbench201Settings
from hwnas.testing.estimator import small_means
from hwnas.testing.paper import PaperSpace, one_operator_an_option
from hwnas.training import checkpoint
from hwnas.training.schedule import optimizer_of

Kind = Literal["uniform", "fair", "sandwich"]
KINDS: tuple[Kind, ...] = ("uniform", "fair", "sandwich")
CELLS = Nasbench201(Nasbench201Settings(resolution=8, width=4, cells=1), channels=3, classes=10)


def shared_weights(kind: Kind, folder: Path = Path(), **changed) -> SharedWeights:
    """Two blocks, of seven options and of six; 300 images, batches of 32."""
    return SharedWeights(replace(small_means(folder), **changed), SharedWeightsSettings(paths=kind))


def arch_of(gates: Gates) -> tuple[int, ...]:
    assert all(len(paths) == 1 and None in paths.values() for paths in gates.values())
    return tuple(option for paths in gates.values() for option in paths)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(widths=st.lists(st.integers(1, 7), min_size=1, max_size=5), updates=st.integers(1, 6), seed=st.integers(0, 99))
def test_fair_paths_are_fair(widths: list[int], updates: int, seed: int) -> None:
    """A permutation an update for the largest choices; never more than one path between a choice's options."""
    fair, generator = Fair(PaperSpace(widths, one_operator_an_option(widths))), seeded(seed)
    assert fair.passes == max(widths)
    counts = [Counter(dict.fromkeys(range(width), 0)) for width in widths]
    for _ in range(updates):
        archs = [arch_of(fair.gates(generator)) for _ in range(fair.passes)]
        for choice, width in enumerate(widths):
            counts[choice].update(arch[choice] for arch in archs)
            spread = max(counts[choice].values()) - min(counts[choice].values())
            assert len(counts[choice]) == width and spread <= (0 if width == max(widths) else 1)


def test_fair_paths_of_different_choices_are_independent() -> None:
    fair, generator = Fair(PaperSpace([3, 3], one_operator_an_option([3, 3]))), seeded()
    seen = Counter(arch_of(fair.gates(generator)) for _ in range(3 * 300))
    assert len(seen) == 9 and min(seen.values()) > 60, seen


def test_a_half_dealt_deck_goes_on_from_its_state(tmp_path: Path) -> None:
    space = PaperSpace([5, 3, 1], one_operator_an_option([5, 3, 1]))
    straight, generator = Fair(space), seeded()
    for _ in range(straight.passes):
        straight.gates(generator)
    checkpoint.save(tmp_path / "c.safetensors", {"companion": straight.state()}, {})
    resumed = Fair(space)
    resumed.load_state(checkpoint.load(tmp_path / "c.safetensors")[0]["companion"])
    assert [straight.gates(seeded(k)) for k in range(9)] == [resumed.gates(seeded(k)) for k in range(9)]


def test_the_sandwich_is_largest_two_random_smallest() -> None:
    """By brute force over all 15,625 cells: the one of 3×3 convolutions, and any of the 729 that cost least."""
    every = list(product(*(range(len(choice.options)) for choice in CELLS.choices)))
    sandwich, generator = Sandwich(CELLS), seeded()
    macs = dict(zip(every, sandwich.macs.sum_many(np.array(every)), strict=True))
    assert macs[CELLS.reference()] == CELLS.macs(CELLS.reference())
    turns = [[arch_of(sandwich.gates(generator)) for _ in range(sandwich.passes)] for _ in range(200)]
    assert {turn[0] for turn in turns} == {max(every, key=macs.__getitem__)}
    assert {macs[turn[3]] for turn in turns} == {min(macs.values())}
    assert len({turn[3] for turn in turns}) > 150, "of 729 that tie, most draws are new"
    assert len({arch for turn in turns for arch in turn[1:3]}) > 390


def test_the_ends_of_elastic_depth_are_ends() -> None:
    """Where operators hang on two choices: no random network of `ofa` is beyond them, a full one is the largest."""
    space = load("spaces", "ofa")(load("spaces", "ofa").Settings(), 3, 10)
    sandwich, rng = Sandwich(space), Random(0)
    largest, _, _, smallest = (space.macs(arch_of(sandwich.gates(seeded(k)))) for k in range(4))
    drawn = [space.macs(space.random(rng)) for _ in range(300)]
    assert smallest < min(drawn) and max(drawn) < largest
    assert largest == space.macs(tuple(len(choice.options) - 1 for choice in space.choices))


def test_ties_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: options 0 and 2 of the first choice are the cheapest, option 1 of the second."""
    costs = (5, 9, 5, 4, 3)
    monkeypatch.setattr(_sandwich, "macs", lambda spec: costs[spec.attributes()["number"]])
    sandwich, generator = Sandwich(PaperSpace([3, 2], one_operator_an_option([3, 2]))), seeded()
    turns = [[arch_of(sandwich.gates(generator)) for _ in range(sandwich.passes)] for _ in range(200)]
    assert {turn[0] for turn in turns} == {(1, 0)}
    drawn = Counter(turn[3] for turn in turns)
    assert set(drawn) == {(0, 1), (2, 1)} and min(drawn.values()) > 70


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_summed_over_the_paths(kind: Kind) -> None:
    """Against the formula, with autograd on a copy; the sandwich's target is a constant."""
    estimator = shared_weights(kind)
    weights, loss = estimator.weights, estimator.weights.loss
    paths = [estimator.paths.gates(seeded(k)) for k in range(estimator.paths.passes)]
    x, y = next(weights.data.weights.plain(32))
    net = copy.deepcopy(weights.net).train()
    outputs = [net(x, gates) for gates in paths]

    def total(target: Tensor) -> Tensor:
        if kind != "sandwich":
            return torch.stack([loss(output, y) for output in outputs]).sum()
        others = [-(target * output.log_softmax(1)).sum(1).mean() for output in outputs[1:]]
        return loss(outputs[0], y) + torch.stack(others).sum()

    first = weights.weight_step(paths, (x, y), optimizer_of(weights.net, weights.recipe))
    assert torch.allclose(first, loss(outputs[0], y))
    parameters = list(net.parameters())
    constant, moving = (
        torch.autograd.grad(total(target), parameters, retain_graph=True, allow_unused=True)
        for target in (outputs[0].detach().softmax(1), outputs[0].softmax(1))
    )
    assert _same(weights.net, constant)
    assert kind != "sandwich" or not _same(weights.net, moving), "the test would not see an attached target"


def _same(net: nn.Module, gradients: tuple[Tensor | None, ...]) -> bool:
    pairs = [(parameter.grad, gradient) for parameter, gradient in zip(net.parameters(), gradients, strict=True)]
    assert any(ours is not None for ours, _ in pairs)
    return all((ours is None) == (theirs is None) for ours, theirs in pairs) and all(
        torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5) for ours, theirs in pairs if ours is not None
    )


@pytest.mark.parametrize(("kind", "updates"), [("uniform", 9), ("fair", 1), ("sandwich", 2)])
def test_an_epoch_costs_the_same_number_of_passes(kind: Kind, updates: int) -> None:
    """Nine batches an epoch: nine passes, of one path, of seven or of four an update."""
    estimator = shared_weights(kind)
    weights, taken = estimator.weights, []
    step = weights.weight_step

    def counted(paths, batch, optimizer):
        taken.append(len(paths))
        return step(paths, batch, optimizer)

    weights.weight_step = counted
    weights.train(estimator.paths, None, "t")
    assert taken == [estimator.paths.passes] * updates * weights.recipe.epochs
    assert 9 - estimator.paths.passes < sum(taken) / weights.recipe.epochs <= 9


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_training_ends_in_the_same_bits(tmp_path: Path, kind: Kind) -> None:
    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    recipe = small_means(tmp_path).recipe.model_copy(update={"epochs": 3})
    straight, stopped, resumed = (shared_weights(kind, tmp_path / f, recipe=recipe) for f in ("a", "b", "b"))
    straight.prepare()
    epoch_done = stopped.paths.epoch_done
    stopped.paths.epoch_done = lambda epoch: stop() if epoch == 1 else epoch_done(epoch)
    with pytest.raises(Stopped):
        stopped.prepare()
    resumed.prepare()
    state = straight.weights.net.state_dict()
    assert [k for k, tensor in resumed.weights.net.state_dict().items() if not torch.equal(tensor, state[k])] == []


def test_a_sandwich_refuses_a_loss_that_it_cannot_distil() -> None:
    with pytest.raises(BadInput, match="loss of its own"):
        shared_weights("sandwich", loss=F.cross_entropy)
    assert shared_weights("fair", loss=F.cross_entropy).paths.passes == 7


def test_an_epoch_with_fewer_batches_than_passes_is_refused() -> None:
    recipe = small_means(Path()).recipe.model_copy(update={"batch_size": 50})
    with pytest.raises(BadInput, match=r"passes \(7\)"):
        shared_weights("fair", recipe=recipe).prepare()
