"""NAS-Bench-201's space against the published table, and against what must hold without it."""

import os
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.operators import build, costs, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.search.bounds import Bounds
from hwnas.spaces._cell201 import CONV_3, NONE, POOL, SKIP, describe, function, index_of, official_order, parse, text
from hwnas.spaces.nasbench201 import Nasbench201, Nasbench201Settings
from hwnas.testing.exporter import worst_difference
from hwnas.testing.space import perturbed

SPACE = Nasbench201(Nasbench201Settings(), channels=3, classes=10)
SMALL = Nasbench201(Nasbench201Settings(resolution=8, width=4, cells=1), channels=3, classes=10)
DEAD = (CONV_3, NONE, POOL, NONE, NONE, NONE)
"""Its output is disconnected."""


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    path = Path(os.environ.get("HWNAS_DATA", "")) / "nb201" / "nb201_accuracy.npz"
    if not path.is_file():
        pytest.skip("HWNAS_DATA does not hold nb201/nb201_accuracy.npz")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ("op_index", "arch_str", "c10_params_millions", "c10_valid_acc_12ep")}


def test_the_order_is_the_published_one(published: dict[str, np.ndarray]) -> None:
    assert np.array_equal(np.array(official_order()), published["op_index"])
    assert [text(arch) for arch in official_order()] == [name.decode() for name in published["arch_str"]]


def test_parameters_are_the_published_ones(published: dict[str, np.ndarray]) -> None:
    """150 published counts belong to other cells; the rest agree to the last digit."""
    params = Additive(SPACE, np.array([costs.params(c.spec) for c in SPACE.operators()]))
    ours = params.sum_many(np.array(official_order())) / 1e6
    assert (np.abs(ours - published["c10_params_millions"]) < 1e-9).sum() == 15_625 - 150


def test_first_of_the_official_order_without_the_table() -> None:
    first = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert text(official_order()[0]) == first
    assert parse(first) == official_order()[0]
    assert [index_of(arch) for arch in official_order()[:50]] == list(range(50))


@pytest.mark.parametrize("wrong", ["", "|none~0|", "|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|"])
def test_what_is_no_cell_is_refused(wrong: str) -> None:
    with pytest.raises(BadInput, match="not a NAS-Bench-201 cell"):
        parse(wrong)
    with pytest.raises(BadInput, match="not a NAS-Bench-201 cell"):
        index_of((0, 0, 0))


def test_published_size_of_the_resnet_cell() -> None:
    """The macro skeleton by hand: 16-32-64, five cells a stage; two 3×3 convolutions with norm a cell."""

    def conv(a: int, b: int, k: int) -> int:
        return a * b * k * k + 2 * b

    cells = sum(5 * 2 * conv(c, c, 3) for c in (16, 32, 64))
    reductions = sum(conv(c, 2 * c, 3) + conv(2 * c, 2 * c, 3) + 2 * c * c for c in (16, 32))
    assert SPACE.params(SPACE.reference()) == conv(3, 16, 3) + cells + reductions + 2 * 64 + 65 * 10


@pytest.mark.parametrize("arch", [DEAD, (NONE,) * 6])
def test_a_disconnected_cell_is_a_network(arch: tuple[int, ...]) -> None:
    assert SMALL.valid(arch) and "x" not in function(arch)
    network = perturbed(SMALL.build(arch)).eval()
    with torch.no_grad():
        logits = network(torch.randn(3, *SMALL.input_shape))
    assert torch.equal(logits, logits[:1].expand_as(logits))  # it does not look at its input
    model = onnx_graph.write(network, SMALL.input_shape)
    assert worst_difference(model, network, torch.randn(4, *SMALL.input_shape)) < 1e-5


def test_equal_functions_give_equal_outputs() -> None:
    """One network's weights, moved to the edges of another that computes the same."""
    ours, theirs = (CONV_3, SKIP, NONE, NONE, SKIP, CONV_3), (SKIP, CONV_3, NONE, NONE, CONV_3, SKIP)
    assert function(ours) == function(theirs)
    first, second = perturbed(SMALL.build(ours)).eval(), SMALL.build(theirs).eval()
    moved = {"node1_from0": "node2_from0", "node3_from2": "node3_from1"}
    state = {}
    for key, value in first.state_dict().items():
        parts = key.split(".")
        state[".".join(moved.get(part, part) for part in parts)] = value
    second.load_state_dict(state)
    x = torch.randn(2, *SMALL.input_shape)
    with torch.no_grad():
        assert torch.allclose(first(x), second(x), atol=1e-5)


def test_functions_tell_shared_weights_from_separate_ones() -> None:
    once_used_twice = (CONV_3, NONE, SKIP, NONE, SKIP, SKIP)  # node 1 reaches the output twice
    two = (CONV_3, CONV_3, NONE, NONE, SKIP, SKIP)
    assert function(once_used_twice) != function(two)
    assert SPACE.params(two) > SPACE.params(once_used_twice)


def test_functions_do_not_know_dead_edges_or_the_order_of_nodes() -> None:
    rng = Random(0)
    for _ in range(200):
        a, b, c, d, e, f = SPACE.random(rng)
        if c == NONE:  # nodes 1 and 2 may change places
            assert function((a, b, NONE, d, e, f)) == function((b, a, NONE, d, f, e))
        assert function((a, b, c, d, NONE, NONE)) == function((NONE, NONE, NONE, d, NONE, NONE))
    assert len({function(arch) for arch in official_order()}) == 5913


def test_described_by_paths_alone() -> None:
    """Cells with the same paths look the same to a predictor; different ones do not."""
    a, b = (CONV_3, SKIP, NONE, NONE, SKIP, CONV_3), (SKIP, CONV_3, NONE, NONE, CONV_3, SKIP)
    rows = describe(np.array([a, b, DEAD, SPACE.reference()]))
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[3])
    assert rows[2][:40].sum() == 0  # no path


@pytest.mark.parametrize(
    "spec",
    [
        OpSpec.of("relu_conv", (4, 9, 7), out=6, kernel=3, stride=2),
        OpSpec.of("avg_pool", (4, 9, 7), kernel=3, stride=1),
        OpSpec.of("skip", (4, 9, 7)),
        OpSpec.of("zero", (4, 9, 7)),
        OpSpec.of("residual_reduction", (4, 8, 8), out=8),
        OpSpec.of("norm_relu", (4, 9, 7)),
        OpSpec.of("conv", (3, 9, 7), out=6, kernel=3, stride=1, act="none"),
    ],
    ids=str,
)
def test_operators_are_timed_as_what_they_are(spec: OpSpec) -> None:
    module = perturbed(build(spec)).eval()
    assert (
        worst_difference(onnx_graph.write(module, spec.input_shape), module, torch.randn(4, *spec.input_shape)) < 1e-5
    )


def test_no_edge_writes_over_what_another_reads() -> None:
    x = torch.randn(2, 4, 8, 8)
    before = x.clone()
    for spec in {c.spec for c in SMALL.operators() if c.when and c.spec.input_shape == (4, 8, 8)}:
        build(spec)(x)
        assert torch.equal(x, before), f"{spec} changed its input"


def test_every_option_is_an_operator_in_every_cell() -> None:
    hanging = Counter(c.when[0] for c in SPACE.operators() if c.when)
    assert set(hanging.values()) == {15} and len(hanging) == 6 * 4


def test_peak_memory_of_branches_is_not_guessed() -> None:
    with pytest.raises(BadInput, match="branch"):
        Bounds(peak_memory_kib=100).limits(SPACE, "fp32")
    assert Bounds(params=10**6).limits(SPACE, "fp32")
