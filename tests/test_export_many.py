"""Two hundred random networks as ONNX: the checker's full check passes, and ONNX Runtime computes what torch does."""

import onnx
import pytest

from hwnas.core.config import validate
from hwnas.exporters.onnx import OPSET, to_onnx
from hwnas.spaces.mobile import MobileSettings
from hwnas.testing.exporter import SKELETON, example, worst_difference

TOLERANCE = 1e-4


def _check(seed: int, **skeleton: object) -> None:
    network, samples = example(seed, **skeleton)
    content = to_onnx(network, samples)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET
    assert worst_difference(content, network, samples) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seeds", [range(i, i + 20) for i in range(0, 200, 20)], ids=lambda s: f"from {s.start}")
def test_random_networks(seeds: range) -> None:
    """The default space; every fourth with squeeze-excitation and hard-swish."""
    fancy = {"squeeze_excite": True, "activation": "hardswish"}
    for seed in seeds:
        _check(seed, **validate(MobileSettings, fancy if seed % 4 == 0 else {}, "space").model_dump())


def test_relu() -> None:
    """The one activation that neither the default space nor the conformance suite exports."""
    _check(1, **SKELETON | {"activation": "relu"})
