"""fp32 → int8: the form of what is written, and that the network is still the same."""

from pathlib import Path
from time import process_time
from typing import get_args

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from ort_kernels import kernels
from torch import nn

from hwnas.core.errors import BadInput
from hwnas.core.target import load_target
from hwnas.devices import open_runtime
from hwnas.exporters.onnx import to_onnx
from hwnas.formats import Int8Form, weight_steps
from hwnas.formats.fold import fold_batch_norm
from hwnas.formats.int8 import quantize
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.testing.exporter import example
from hwnas.testing.space import perturbed

FORMS = get_args(Int8Form)
RNG = np.random.default_rng(0)


def graph_of(spec: OpSpec) -> bytes:
    torch.manual_seed(0)
    return onnx_graph.write(perturbed(build(spec)).eval(), spec.input_shape)


def inputs_of(spec: OpSpec, count: int = 4) -> np.ndarray:
    return RNG.standard_normal((count, *spec.input_shape), dtype=np.float32)


def run(model: bytes, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # u8s8 too, on every CPU
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def off(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


BLOCK = OpSpec.of("mbconv", (8, 10, 10), out=8, kernel=3, stride=1, expand=6, act="relu6")
GATED = OpSpec.of("mbconv", (8, 10, 10), out=8, kernel=5, stride=1, expand=3, act="hardswish", se=True)
HEAD = OpSpec.of("classifier", (24, 5, 7), classes=10)


@pytest.mark.parametrize("spec", [BLOCK, GATED, HEAD], ids=["block", "gated", "head"])
@pytest.mark.parametrize("form", FORMS)
def test_every_tensor_between_operators_is_rounded(form, spec: OpSpec) -> None:
    graph = onnx.load_model_from_string(quantize(graph_of(spec), inputs_of(spec), form)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    fused = {name for node in graph.node if node.op_type in ("Relu", "Clip") for name in node.input}
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert makers[graph.output[0].name].op_type == "DequantizeLinear"
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = (constants[name] for name in node.input[1:])
            assert zero.dtype == (np.int8 if form == "s8s8" else np.uint8)
            assert scale.shape == zero.shape == () and scale > 0
            assert form != "s8s8" or zero == 0
        elif node.op_type != "DequantizeLinear":
            for name in set(node.input) - constants.keys() - fused:
                assert makers[name].op_type == "DequantizeLinear", f"{node.name} reads {name}"


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_signed_symmetric_and_per_channel_and_biases_float(form) -> None:
    for spec in (BLOCK, GATED, HEAD):
        graph = onnx.load_model_from_string(quantize(graph_of(spec), inputs_of(spec), form)).graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        makers = {node.output[0]: node for node in graph.node}
        weighted = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
        assert weighted
        for node in weighted:
            maker = makers[node.input[1]]
            weight, scale, zero = (constants[name] for name in maker.input)
            assert [(a.name, a.i) for a in maker.attribute] == [("axis", 0)]
            assert weight.dtype == zero.dtype == np.int8
            assert scale.shape == zero.shape == (len(weight),)
            assert not zero.any() and (np.abs(weight).reshape(len(weight), -1).max(1) == weight_steps(form)).all()
            assert all(constants[name].dtype == np.float32 for name in node.input[2:])


@settings(max_examples=20, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    act=st.sampled_from(("relu", "relu6", "hardswish")),
    kernel=st.sampled_from((3, 5)),
    stride=st.integers(1, 2),
    expand=st.sampled_from((1, 3, 6)),
    out=st.sampled_from((8, 12)),
    se=st.booleans(),
)
def test_a_block_stays_what_it_was(form, act: str, kernel: int, stride: int, expand: int, out: int, se: bool) -> None:
    spec = OpSpec.of("mbconv", (8, 9, 7), out=out, kernel=kernel, stride=stride, expand=expand, act=act, se=se)
    model, x = graph_of(spec), inputs_of(spec, 9)
    whole = quantize(model, x, form)
    onnx.checker.check_model(onnx.load_model_from_string(whole), full_check=True)
    for batch in (1, 9):  # the batch stays open
        assert off(run(whole, x[:batch]), run(model, x[:batch])) < 0.1


def test_equal_inputs_give_equal_bytes() -> None:
    model, x = graph_of(GATED), inputs_of(GATED)
    assert len({quantize(model, x, "u8s8") for _ in range(3)}) == 1
    assert quantize(model, 2 * x, "u8s8") != quantize(model, x, "u8s8") != quantize(model, x, "s8s8")


def test_onnxruntime_runs_the_same_integer_kernels_for_what_is_timed_and_what_is_shipped(tmp_path: Path) -> None:
    network, samples = example(3)
    timed = onnx_graph.write(network, tuple(samples.shape[1:]))
    shipped = to_onnx(network, samples)
    kinds = [kernels(quantize(model, samples.numpy(), "u8s8"), tmp_path) for model in (timed, shipped)]
    assert kinds[0] == kinds[1]
    assert kinds[0]["QLinearConv"] == sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert kinds[0]["Conv"] == kinds[0]["FusedConv"] == 0


def test_a_dropped_relu6_still_clips() -> None:
    spec = OpSpec.of("conv", (3, 8, 8), out=8, kernel=3, stride=1, act="relu6")
    whole = quantize(graph_of(spec), 20 * inputs_of(spec), "u8s8")
    assert "Clip" not in {node.op_type for node in onnx.load_model_from_string(whole).graph.node}
    y = run(whole, 1000 * inputs_of(spec))
    assert y.min() == 0 and y.max() == pytest.approx(6)


def test_a_relu_behind_an_operator_that_shares_its_inputs_scale_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.ReLU()).eval()
    model, x = onnx_graph.write(network, (3, 5, 5)), RNG.standard_normal((4, 3, 5, 5), dtype=np.float32)
    y = run(quantize(model, x, "u8s8"), x)
    assert y.min() == 0
    assert off(y, run(model, x)) < 0.1


def test_a_channel_that_training_gave_up_keeps_its_bias() -> None:
    """Its weights are nearly zero: in steps of so small a scale the bias would not fit into int32."""
    conv = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        conv.weight[0] *= 1e-20
        conv.weight[1] = 0
        conv.bias[:] = torch.tensor([0.7, -0.3, 0.1, 0.1])
    model, x = onnx_graph.write(nn.Sequential(conv), (3, 5, 5)), RNG.standard_normal((4, 3, 5, 5), dtype=np.float32)
    for form in FORMS:
        assert np.abs(run(quantize(model, x, form), x) - run(model, x)).max() < 0.05


def test_a_batch_norm_that_cannot_be_folded_is_left() -> None:
    class TwiceRead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    model, x = onnx_graph.write(perturbed(TwiceRead()), (3, 5, 5)), RNG.standard_normal((4, 3, 5, 5), dtype=np.float32)
    proto = onnx.load_model_from_string(model)
    fold_batch_norm(proto.graph)
    assert "BatchNormalization" in {node.op_type for node in proto.graph.node}
    whole = quantize(model, x, "u8s8")
    onnx.checker.check_model(onnx.load_model_from_string(whole), full_check=True)
    assert off(run(whole, x), run(model, x)) < 0.1


@pytest.mark.parametrize("spec", [BLOCK, GATED], ids=["block", "gated"])
def test_folding_changes_nothing_but_the_nodes(spec: OpSpec) -> None:
    model, x = graph_of(spec), inputs_of(spec)
    proto = onnx.load_model_from_string(model)
    fold_batch_norm(proto.graph)
    assert off(run(proto.SerializeToString(), x), run(model, x)) < 1e-5


def test_what_is_constant_or_zero_has_a_scale() -> None:
    model = graph_of(BLOCK)
    x = np.zeros((2, *BLOCK.input_shape), np.float32)
    assert np.isfinite(run(quantize(model, x, "u8s8"), x)).all()


def test_infinite_activations_are_refused() -> None:
    x = inputs_of(BLOCK)
    x[0, 0, 0, 0] = np.inf
    with pytest.raises(BadInput, match="cannot be quantised"):
        quantize(graph_of(BLOCK), x, "u8s8")


def test_operators_that_nobody_rounds_are_rounded_around() -> None:
    """An operator without an integer kernel computes in float between DQ and Q."""
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 6])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 6])
    graph = helper.make_graph([helper.make_node("Elu", ["x"], ["y"], name="elu")], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    values = RNG.standard_normal((8, 6), dtype=np.float32)
    assert off(run(quantize(model, values, "s8s8"), values), run(model, values)) < 0.02


def test_a_block_is_written_in_less_time_than_it_is_timed() -> None:
    spec = OpSpec.of("mbconv", (32, 28, 28), out=32, kernel=3, stride=1, expand=6, act="relu6")
    model, x, seconds = graph_of(spec), inputs_of(spec, 1), []
    for _ in range(5):
        begun = process_time()
        quantize(model, x, "u8s8")
        seconds.append(process_time() - begun)
    assert min(seconds) < 0.05


def test_what_is_shipped_for_a_cpu_is_right_without_vnni() -> None:
    """There two products of u8 and s8 are summed in 16 bits."""
    form = open_runtime(load_target("cpu-int8")).int8_form
    assert 2 * 255 * weight_steps(form) < 2**15
