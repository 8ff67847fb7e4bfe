"""Computed costs of operators, against whole networks and against memory planned by hand."""

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hwnas.core.errors import BadInput
from hwnas.operators import _builders, costs, operator
from hwnas.operators.opspec import OpSpec
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.spaces.mobilenet_v2 import MobilenetV2, MobilenetV2Settings

SPACES = [
    Mobile(MobileSettings(), channels=3, classes=10),
    Mobile(MobileSettings(squeeze_excite=True, activation="hardswish"), channels=1, classes=10),
    MobilenetV2(MobilenetV2Settings(multipliers=(0.5, 1.0)), channels=3, classes=10),
]


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(SPACES), st.integers(0, 10_000))
def test_operators_add_up_to_the_network(space, seed: int) -> None:
    arch = space.random(Random(seed))
    with torch.device("meta"), torch.no_grad():
        network = space.build(arch).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *space.input_shape))
    specs = space.ops(arch)
    assert sum(map(costs.params, specs)) == sum(p.numel() for p in network.parameters())
    assert sum(map(costs.macs, specs)) == counter.get_total_flops() // 2
    assert max(map(costs.peak_activations, specs)) == costs.peak_of(network, space.input_shape)


def block(**attributes) -> OpSpec:
    return OpSpec.of("mbconv", (8, 10, 10), **{"kernel": 3, "act": "relu6", "se": False} | attributes)


def test_memory_planned_by_hand() -> None:
    size = 100
    # The depthwise convolution holds two expanded maps, and the input until the shortcut is added.
    assert costs.peak_activations(block(out=8, stride=1, expand=6)) == (8 + 48 + 48) * size
    # No shortcut: the input is gone by then.
    assert costs.peak_activations(block(out=16, stride=1, expand=6)) == (48 + 48) * size
    # The expansion itself is the largest moment where the depthwise one shrinks its map.
    assert costs.peak_activations(block(out=16, stride=2, expand=6)) == (48 + 12) * size
    assert costs.peak_activations(block(out=64, stride=1, expand=1)) == (8 + 64) * size
    # Gating writes over the map it gates.
    assert costs.peak_activations(block(out=8, stride=1, expand=6, se=True)) == (8 + 48 + 48) * size
    conv = OpSpec.of("conv", (3, 10, 10), out=16, kernel=3, stride=2, act="relu6")
    assert costs.peak_activations(conv) == 3 * size + 16 * 25


def test_a_sum_that_somebody_else_still_needs_is_not_overwritten() -> None:
    class Twice(nn.Module):
        def forward(self, x):
            y = torch.add(x, x)
            return torch.mul(x, y)

    assert costs.peak_of(Twice(), (4, 5, 5)) == 2 * 100


def test_an_operator_that_cannot_be_traced_has_no_known_memory() -> None:
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    operator("branches")(lambda input_shape: Branches())
    try:
        with pytest.raises(BadInput, match=r"torch\.fx"):
            costs.peak_activations(OpSpec.of("branches", (1, 2, 2)))
    finally:
        del _builders["branches"]
