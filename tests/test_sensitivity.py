"""int8 that would change answers leaves the layers in float that it hurts most."""

import numpy as np
import onnx
import pytest
import torch
from bundles import noise
from torch import nn

from hwnas.deploy.structure import metadata
from hwnas.formats.answers import kept
from hwnas.formats.int8 import Calibrated, quantize
from hwnas.formats.sensitivity import FLOATS, _logits, quantize_sparing
from hwnas.operators import onnx_graph
from hwnas.testing.exporter import example

TOLERANCE = 0.02
SHAPE = (4, 8, 8)
X = np.random.default_rng(1).standard_normal((96, 4, 1, 1), dtype=np.float32) + 0.1 * noise(96, *SHAPE)


class Fragile(nn.Module):
    """Small answers ride on a channel a thousand times as large, which a layer makes and a later one takes away: one
    scale for the tensor between them cannot hold both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sound = nn.ModuleList(nn.Conv2d(4, 4, 1, bias=False) for _ in range(6))
        for conv in self.sound:
            nn.init.orthogonal_(conv.weight)
        self.makes, self.takes = nn.Conv2d(4, 5, 1, bias=False), nn.Conv2d(5, 4, 1, bias=False)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10, bias=False))
        with torch.no_grad():
            self.makes.weight[4] *= 3000
            self.takes.weight[:, 4] = 0
            self.head[2].weight *= 30

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.sound:
            x = conv(x)
        return self.head(self.takes(self.makes(x)))


@pytest.fixture(scope="module")
def fragile() -> bytes:
    return onnx_graph.write(Fragile().eval(), SHAPE)


def share(model: bytes, exact: bytes) -> float:
    return float(kept(_logits(model, X), _logits(exact, X), TOLERANCE).mean())


def rounded_weights(model: bytes) -> set[str]:
    graph = onnx.load_model_from_string(model).graph
    return {n.input[0].removesuffix(".q_values") for n in graph.node if n.input[0].endswith(".q_values")}


@pytest.mark.parametrize("form", ["u8s8", "s8s8"])
def test_the_layers_around_the_harm_stay_in_float_and_are_named(form, fragile: bytes, capsys) -> None:
    assert share(quantize(fragile, X, form), fragile) < 0.9
    model = quantize_sparing(fragile, X, form, TOLERANCE)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    assert share(model, fragile) >= 0.99
    floats = set(metadata(model)[FLOATS].splitlines())
    layers = set(Calibrated.of(fragile, X).layers())
    assert floats < layers and len(floats) <= round(0.25 * len(layers))
    assert any("makes" in layer or "takes" in layer for layer in floats)
    assert rounded_weights(model) == layers - floats
    said = capsys.readouterr().err
    assert all(layer in said for layer in floats)


def test_a_runtime_that_cannot_mix_gets_every_layer_rounded(fragile: bytes) -> None:
    assert quantize_sparing(fragile, X, "u8s8", TOLERANCE, mixed=False) == quantize(fragile, X, "u8s8")


def test_a_network_that_keeps_its_answers_is_quantised_whole() -> None:
    network, x = example(0)
    model = onnx_graph.write(network, tuple(x.shape[1:]))
    whole = quantize_sparing(model, x.numpy(), "u8s8", 0.5)
    assert whole == quantize(model, x.numpy(), "u8s8") and FLOATS not in metadata(whole)


@pytest.mark.parametrize("form", ["u8s8", "s8s8"])
def test_with_every_layer_in_float_nothing_between_them_is_rounded(form) -> None:
    """Also where a ReLU6 would have been left to the rounding behind it: it still clips."""
    network, x = example(1, widths=[16], depths=[2], strides=[1], activation="relu6")
    model = onnx_graph.write(network, tuple(x.shape[1:]))
    layers = frozenset(Calibrated.of(model, x.numpy()).layers())
    off = []
    for floats in (frozenset(), layers):
        logits = _logits(quantize(model, x.numpy(), form, floats), 5 * x.numpy())
        off.append(np.abs(logits - _logits(model, 5 * x.numpy())).max())
    assert not rounded_weights(quantize(model, x.numpy(), form, layers))
    assert off[1] < off[0]
