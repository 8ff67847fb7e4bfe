"""The quick ONNX writer that profiling uses: the same numbers as torch, the same graph as the real exporter."""

from pathlib import Path
from random import Random

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from ort_kernels import kernels
from torch import nn

from hwnas.core.target import load_target
from hwnas.devices import open_runtime
from hwnas.exporters.onnx import to_onnx
from hwnas.latency.graphs import network_graph, operator_graph
from hwnas.operators import build, onnx_graph
from hwnas.operators.basic import ACTIVATIONS
from hwnas.operators.opspec import OpSpec
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.exporter import worst_difference
from hwnas.testing.space import perturbed

CPU = open_runtime(load_target("cpu"))


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("se", [False, True], ids=["plain", "squeeze-excite"])
@pytest.mark.parametrize(("kernel", "stride", "expand", "out"), [(3, 1, 1, 8), (5, 2, 6, 12), (7, 1, 3, 8)])
def test_blocks_compute_the_same(act: str, se: bool, kernel: int, stride: int, expand: int, out: int) -> None:
    spec = OpSpec.of("mbconv", (8, 15, 11), out=out, kernel=kernel, stride=stride, expand=expand, act=act, se=se)
    _same(spec)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_stems_and_heads_compute_the_same(act: str) -> None:
    _same(OpSpec.of("conv", (3, 16, 16), out=8, kernel=3, stride=2, act=act))
    _same(OpSpec.of("classifier", (24, 5, 7), classes=10))


def _same(spec: OpSpec) -> None:
    module = perturbed(build(spec)).eval()
    model = onnx_graph.write(module, spec.input_shape)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    assert worst_difference(model, module, 3 * torch.randn(8, *spec.input_shape)) < 1e-5


@pytest.mark.parametrize("settings", [{}, {"squeeze_excite": True, "activation": "hardswish"}], ids=["plain", "se"])
def test_onnxruntime_runs_the_same_kernels_as_for_the_shipped_file(settings: dict[str, object], tmp_path: Path) -> None:
    """A latency of the quick file would otherwise say nothing about the file that is shipped."""
    space = Mobile(MobileSettings(widths=(16, 24), depths=(2, 2), strides=(1, 2), **settings), channels=3, classes=10)
    network = perturbed(space.build(space.random(Random(1)))).eval()
    quick = onnx_graph.write(network, space.input_shape)
    shipped = to_onnx(network, torch.randn(2, *space.input_shape))
    assert kernels(quick, tmp_path) == kernels(shipped, tmp_path)
    assert worst_difference(quick, network, torch.randn(8, *space.input_shape)) < 1e-4


def test_an_unknown_module_falls_back_to_the_real_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own operator is timed too, though preparing it takes seconds."""
    from hwnas import operators

    monkeypatch.setitem(operators._builders, "swirl", lambda shape, *, slope: nn.ELU(slope))
    spec = OpSpec.of("swirl", (4, 6, 6), slope=0.5)
    with pytest.raises(onnx_graph.Untranslatable):
        onnx_graph.write(build(spec), spec.input_shape)
    session = ort.InferenceSession(operator_graph(spec, CPU), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((3, 4, 6, 6), dtype=np.float32)
    (got,) = session.run(None, {session.get_inputs()[0].name: x})
    assert np.allclose(got, build(spec)(torch.from_numpy(x)).numpy(), atol=1e-6)


def test_a_whole_network_is_written_in_a_fraction_of_a_second() -> None:
    """A profile writes a hundred graphs: what takes longer than timing them would be a bug."""
    from time import perf_counter

    space = Mobile(MobileSettings(), channels=3, classes=10)
    network_graph(space, space.reference(), CPU)
    start = perf_counter()
    network_graph(space, space.reference(), CPU)
    assert perf_counter() - start < 1.0
