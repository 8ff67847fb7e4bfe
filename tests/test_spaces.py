"""Published spaces beyond the conformance suite: elastic depth, shared weights, and the graphs that are timed."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from ort_kernels import kernels
from torch import Tensor, nn

from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.exporters.onnx import to_onnx
from hwnas.formats.precision import in_precision
from hwnas.formats.reader import OnnxGraph
from hwnas.formats.torch_module import to_module
from hwnas.latency.additive import Additive
from hwnas.operators import build, cost, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.operators.shared import CutConv
from hwnas.search.projection import project
from hwnas.spaces import Space, single_path
from hwnas.testing.exporter import worst_difference
from hwnas.testing.space import perturbed, same_outputs

SPACES = ("fbnet", "tfnas", "shuffle", "ofa")
SMALL: dict[str, Any] = {"widths": (16, 24), "depths": (2, 3), "strides": (1, 2), "resolution": 16}
STAGES: dict[str, dict[str, Any]] = {"ofa": {"squeeze_excite": (False, True), "h_swish": (False, True)}}


def paper(name: str, form: str = "paper") -> Space:
    plugin = load("spaces", name)
    return plugin(validate(plugin.Settings, {"form": form}, "space"), channels=3, classes=1000)


def small(name: str, **settings: Any) -> Space:
    plugin = load("spaces", name)
    return plugin(validate(plugin.Settings, SMALL | STAGES.get(name, {}) | settings, "space"), channels=3, classes=10)


# --- As published ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form", "layers", "size"),
    [
        ("fbnet", "paper", 22, 9**22),
        ("fbnet", "cifar100", 22, 9**22),
        ("tfnas", "paper", 18, 8**18 * 2 * 3 * 4**3),
        ("shuffle", "paper", 20, 4**20),
        ("ofa", "paper", 20, 9**20 * 3**5),
    ],
)
def test_the_papers_forms(name: str, form: str, layers: int, size: int) -> None:
    space = paper(name, form)
    assert space.input_shape == ((3, 224, 224) if form == "paper" else (3, 32, 32))
    assert sum("block" in choice.name for choice in space.choices) == layers
    assert space.size() == size
    settings = load("spaces", name).Settings
    assert validate(settings, {"form": form, "head_width": 8}, "space").head_width == 8  # what is given wins
    for wrong in ("medium", [form]):
        with pytest.raises(BadInput, match="form is one of"):
            validate(settings, {"form": wrong}, "space")


def test_fbnet_a_is_as_large_as_published() -> None:
    """4.3 million parameters, 249 million multiply-accumulates (arXiv:1812.03443, table 3)."""
    space = paper("fbnet")
    names = (  # noqa: SIM905
        "skip k3_e3 k3_e1 skip skip k5_e6 k3_e3 k5_e1 k3_e3 k5_e6 k5_e3 k5_e1_g2 k5_e6 k3_e6 k5_e1_g2 k5_e1 k3_e1_g2 "
        "k5_e6 k5_e6 k5_e3 k5_e6 k5_e6"
    ).split()
    arch = tuple(choice.options.index(name) for choice, name in zip(space.choices, names, strict=True))
    assert space.params(arch) / 1e6 == pytest.approx(4.3, abs=0.05)
    assert space.macs(arch) / 1e6 == pytest.approx(249, rel=0.05)


def test_a_grouped_block_mixes_its_groups() -> None:
    """Without the shuffle, the second half of the channels would never see the first."""
    spec = OpSpec.of("fbnet_block", (8, 4, 4), kernel=3, expand=1, groups=2, layer=1, out=8, stride=2)
    block = perturbed(build(spec)).eval()
    x = torch.randn(1, 8, 4, 4, requires_grad=True)
    block(x)[:, 4:].sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum((0, 2, 3)) > 0).all()
    assert cost(spec)[1] == 2 * 8 * 8 // 2 + 8 * 9 + 3 * 2 * 8


def test_a_keeping_unit_passes_every_second_channel() -> None:
    spec = OpSpec.of("shuffle_block", (8, 4, 4), kernel=5, mid=3, out=8, stride=1)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(build(spec).eval()(x)[:, :4], x[:, ::2])


# --- Elastic depth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tfnas", "ofa"])
def test_what_stands_beyond_the_depth_does_not_matter(name: str) -> None:
    space = small(name)
    depth = next(i for i, choice in enumerate(space.choices) if choice.name == "stage2_depth")
    last = depth + 3
    shallow = [0] * len(space.choices)
    other = shallow.copy()
    other[last] = 1
    assert space.function(tuple(shallow)) == space.function(tuple(other))
    assert space.ops(tuple(shallow)) == space.ops(tuple(other))
    shallow[depth] = other[depth] = len(space.choices[depth].options) - 1
    assert space.function(tuple(shallow)) != space.function(tuple(other))
    assert space.ops(tuple(shallow)) != space.ops(tuple(other))
    assert len(space.build(tuple(shallow))) == len(space.ops(tuple(shallow)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["tfnas", "ofa"])
def test_mixed_depths_are_the_weighted_exits(name: str) -> None:
    """The stage before the head is linear in its gates: with the head taken off, so is the network."""
    torch.manual_seed(0)
    space = small(name)
    net = perturbed(space.supernet()).eval()
    (depth,) = (i for i, choice in enumerate(space.choices) if choice.name == "stage2_depth")
    head = len(space.head((1, 1, 1)))  # type: ignore[attr-defined]
    for options in list(net.slots)[-head:]:  # type: ignore[arg-type]
        options[0] = nn.Identity()  # type: ignore[index]
    arch, x = space.reference(), torch.randn(2, *space.input_shape)
    ways = range(len(space.choices[depth].options))
    with torch.no_grad():
        exits = [net(x, {**single_path(arch), depth: {way: None}}) for way in ways]
        shares = [torch.tensor(0.2 + way) for way in ways]
        mixed = net(x, {**single_path(arch), depth: dict(zip(ways, shares, strict=True))})
    assert torch.allclose(mixed, sum((s * e for s, e in zip(shares, exits, strict=True)), torch.zeros(())), atol=1e-5)
    assert not torch.allclose(exits[0], exits[-1])


def test_a_depth_that_is_inactive_leaves_no_gradient_but_its_gates() -> None:
    space = small("tfnas")
    net = space.supernet().eval()
    (depth,) = (i for i, choice in enumerate(space.choices) if choice.name == "stage2_depth")
    gates = [torch.tensor(1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)]
    paths = {**single_path(space.reference()), depth: dict(zip((0, 2), gates, strict=True))}
    net(torch.randn(2, *space.input_shape), paths).square().sum().backward()
    assert all(gate.grad is not None and gate.grad != 0 for gate in gates)
    reached = [i for i, options in enumerate(net.slots) if any(p.grad is not None for p in options.parameters())]  # type: ignore[arg-type]
    assert reached == [0, 1, 2, 3, 4, 7, 8]  # not the second and third block of stage 2


@pytest.mark.parametrize("name", ["tfnas", "ofa"])
def test_projection_onto_a_budget_is_exact_with_elastic_depth(name: str) -> None:
    """Against every architecture of a tiny space."""
    space = small(name, depths=(1, 2), kernels=(3,), shallowest=1, expansions=(3, 6))
    rng = np.random.default_rng(0)
    additive = Additive(space, rng.uniform(0.5, 2.0, len(space.operators())))
    scores = [rng.normal(size=len(choice.options)) for choice in space.choices]
    archs = np.array(list(np.ndindex(*(len(choice.options) for choice in space.choices))))
    sums = additive.sum_many(archs)
    assert np.allclose(sums, [additive.sum(tuple(arch)) for arch in archs.tolist()])
    worth = np.sum([s[archs[:, i]] for i, s in enumerate(scores)], axis=0)
    limit = float(np.quantile(sums, 0.3)) + 1e-4  # not the sum of one of them to the last bit
    (found,) = project(space, additive, scores, limit)
    assert sum(s[o] for s, o in zip(scores, found, strict=True)) == pytest.approx(float(worth[sums <= limit].max()))


# --- Shared weights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {"weights": "separate"}) for name in SPACES]
    + [("shuffle", {"scales": (0.2, 1.0, 1.6), "divisor": 1}), ("tfnas", {"expansions": (1, 2.5, 6)})],
)
def test_networks_inherit_what_the_supernet_computes(name: str, settings: dict[str, Any]) -> None:
    space, rng = small(name, **settings), Random(0)
    supernet = perturbed(space.supernet())
    assert any(isinstance(module, CutConv) for module in supernet.modules()) == ("weights" not in settings)
    archs = [space.random(rng) for _ in range(6)]
    same_outputs(space, supernet, archs, torch.contiguous_format)


@pytest.mark.parametrize("name", SPACES)
def test_training_one_option_trains_those_that_share(name: str) -> None:
    space = small(name)
    supernet, arch = space.supernet(), space.reference()
    other = tuple(0 if "block" in choice.name else option for option, choice in zip(arch, space.choices, strict=True))
    other = tuple(o if o != a or "depth" in c.name else 2 for o, a, c in zip(other, arch, space.choices, strict=True))
    before = {key: tensor.detach().clone() for key, tensor in space.inherited(supernet, other).items()}
    supernet(torch.randn(4, *space.input_shape), single_path(arch)).square().mean().backward()
    with torch.no_grad():
        for parameter in supernet.parameters():
            if isinstance(parameter.grad, Tensor):
                parameter -= parameter.grad + 1e-3
    changed = [key for key, tensor in space.inherited(supernet, other).items() if not torch.equal(tensor, before[key])]
    assert any("block" in key and key.endswith("conv.weight") for key in changed)


# --- Graphs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_what_is_timed_is_what_is_shipped(name: str, tmp_path: Path) -> None:
    """The same numbers and, in onnxruntime, the same kernels; torch's own translation computes it too."""
    space = small(name)
    network, x = perturbed(space.build(space.random(Random(3)))).eval(), torch.randn(8, *space.input_shape)
    quick, shipped = onnx_graph.write(network, space.input_shape), to_onnx(network, x)
    assert kernels(quick, tmp_path) == kernels(shipped, tmp_path)
    assert worst_difference(quick, network, x) < 1e-4
    with torch.no_grad():
        for model in (quick, shipped):
            assert torch.allclose(to_module(OnnxGraph(model))(x), network(x), atol=1e-4)
    rounded = in_precision(shipped, "int8", "u8s7", x.numpy())
    assert worst_difference(rounded, network, x) < 0.2
