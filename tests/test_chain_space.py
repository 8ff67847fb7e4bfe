"""The global space beyond the conformance suite: its ends, its sums, sliced weights, and the graphs that are timed."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from ort_kernels import kernels

from hwnas.core.arch import Arch
from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.exporters.onnx import to_onnx
from hwnas.formats.precision import in_precision
from hwnas.latency.additive import Additive
from hwnas.operators import cost, onnx_graph
from hwnas.search.projection import extreme, project
from hwnas.spaces import every_arch, single_path
from hwnas.spaces.chain import Chain, ChainSettings
from hwnas.testing.exporter import worst_difference
from hwnas.testing.space import perturbed, same_outputs

SMALL: dict[str, Any] = {"resolution": 16, "depth": 2, "widths": (4, 8), "kernels": (1, 3), "strides": ((1, 2), (2, 2))}
TINY: dict[str, Any] = SMALL | {"strides": ((1,), (2,))}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def space_of(**settings: Any) -> Chain:
    return Chain(validate(ChainSettings, settings, "space"), channels=3, classes=10)


def arch_of(space: Chain, **options: str) -> Arch:
    """The first option of every choice but those given."""
    return tuple(c.options.index(options.get(c.name, c.options[0])) for c in space.choices)


def kinds(space: Chain, arch: Arch) -> list[str]:
    return [str(spec) for spec in space.ops(arch)[1:-1]]


def test_its_layers_by_hand() -> None:
    space = space_of(**SMALL)
    arch = arch_of(
        space,
        strides="2-2",
        stage2_depth="2",
        stage1_layer2_width="8",
        stage1_layer2_kernel="3",
        stage2_layer1_skip="yes",
        stage2_layer2_skip="yes",
    )
    assert kinds(space, arch) == [
        "conv(act=relu,kernel=3,out=8,stride=2)@16x8x8",
        "conv(act=relu,kernel=1,out=4,stride=2)@8x4x4",
        "conv(act=none,kernel=1,out=4,stride=2)@8x4x4",
        "conv(act=relu,kernel=1,out=4,stride=1)@4x2x2",
        "skip()@4x2x2",
    ]
    assert str(space.ops(arch)[-1]) == "classifier(classes=10)@4x2x2"


def test_a_stage_is_shortened_at_its_front() -> None:
    space = space_of(**SMALL)
    for option, there in (("1", False), ("2", True)):
        base = arch_of(space, stage1_depth=option)
        other = arch_of(space, stage1_depth=option, stage1_layer1_width="8")
        assert (space.function(base) != space.function(other)) == (space.ops(base) != space.ops(other)) == there
    assert len(arch_of(space)) == 1 + 2 * (1 + 2 * 3)


def test_the_fastest_network_is_next_to_nothing() -> None:
    """Where large-scale evolution starts: one 1×1 convolution a stage."""
    space = space_of(**SMALL)
    macs = Additive(space, np.array([1 + cost(c.spec)[2] for c in space.operators()], float))
    trivial = extreme(space, macs, cheapest=True)
    assert kinds(space, trivial) == [
        "conv(act=relu,kernel=1,out=4,stride=2)@16x8x8",
        "conv(act=relu,kernel=1,out=4,stride=2)@4x4x4",
    ]


def test_the_default_has_some_two_thousand_operators() -> None:
    space = space_of()
    assert len(space.operators()) < 2500
    assert max(len(conditional.when) for conditional in space.operators()) == 5


@pytest.mark.parametrize("seed", range(3))
def test_projection_is_exact(seed: int) -> None:
    """Against every network of one stage."""
    space = space_of(**TINY)
    rng = np.random.default_rng(seed)
    additive = Additive(space, rng.uniform(0.5, 2.0, len(space.operators())))
    scores = [rng.normal(size=len(choice.options)) for choice in space.choices]
    archs = every_arch(space)
    sums = additive.sum_many(archs)
    assert np.allclose(sums, [additive.sum(tuple(arch)) for arch in archs.tolist()])
    worth = np.sum([s[archs[:, i]] for i, s in enumerate(scores)], axis=0)
    limit = float(np.quantile(sums, 0.3)) + 1e-4
    (found,) = project(space, additive, scores, limit)
    assert sum(s[o] for s, o in zip(scores, found, strict=True)) == pytest.approx(float(worth[sums <= limit].max()))
    assert additive.sum(extreme(space, additive, cheapest=False)) == pytest.approx(float(sums.max()))


def test_expected_latency_is_the_mean_over_drawn_networks() -> None:
    space = space_of(**SMALL)
    rng = np.random.default_rng(0)
    additive = Additive(space, rng.uniform(0.1, 1, len(space.operators())))
    probabilities = [torch.from_numpy(rng.dirichlet(np.ones(len(c.options)))) for c in space.choices]
    drawn = np.column_stack([rng.choice(len(p), 100_000, p=p.numpy()) for p in probabilities])
    assert float(additive.expected(probabilities)) == pytest.approx(additive.sum_many(drawn).mean(), rel=2e-3)


def test_networks_inherit_slices() -> None:
    space, rng = space_of(**SMALL), Random(0)
    same_outputs(space, perturbed(space.supernet()), [space.random(rng) for _ in range(20)], torch.contiguous_format)


def test_training_a_wide_layer_trains_the_narrow_one() -> None:
    space = space_of(**SMALL)
    supernet, arch = space.supernet(), arch_of(space, stage2_layer2_width="8", stage2_layer2_kernel="3")
    narrow = arch_of(space)
    before = {key: tensor.detach().clone() for key, tensor in space.inherited(supernet, narrow).items()}
    supernet(torch.randn(4, *space.input_shape), single_path(arch)).square().mean().backward()
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad + 1e-3
    after = space.inherited(supernet, narrow)
    changed = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert "stage2_layer2.main.conv.weight" in changed
    assert "stage2_layer2.main.norm.weight" not in changed  # each width's own


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"kernels": (2, 3)}, "odd"),
        ({"widths": (8, 4)}, "rise"),
        ({"strides": ((1, 2), (2,))}, "one entry a stage"),
        ({"strides": ((),)}, "one entry a stage"),
        ({"strides": ((1, 3),)}, "1 or 2"),
    ],
)
def test_what_cannot_be_sliced_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        space_of(**wrong)


def test_what_is_timed_is_what_is_shipped(tmp_path: Path) -> None:
    space = space_of(**SMALL)
    network, x = perturbed(space.build(space.reference())).eval(), torch.randn(8, *space.input_shape)
    quick, shipped = onnx_graph.write(network, space.input_shape), to_onnx(network, x)
    assert kernels(quick, tmp_path) == kernels(shipped, tmp_path)
    assert worst_difference(quick, network, x) < 1e-4
    assert worst_difference(in_precision(shipped, "int8", "u8s7", x.numpy()), network, x) < 0.2
