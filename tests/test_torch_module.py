"""ONNX to a torch module: the same numbers as ONNX Runtime, for whole networks and for every operator it knows."""

from random import Random
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hwnas.core.errors import BadInput
from hwnas.exporters.onnx import to_onnx
from hwnas.formats.fp16 import to_fp16
from hwnas.formats.reader import OnnxGraph
from hwnas.formats.torch_module import to_module
from hwnas.operators import onnx_graph
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.space import perturbed

KINDS: list[dict[str, Any]] = [{}, {"squeeze_excite": True, "activation": "hardswish"}, {"activation": "relu"}]


def network(kind: dict[str, Any], seed: int) -> tuple[torch.nn.Module, torch.Tensor]:
    """One of a space of four blocks, and a batch of eight inputs for it."""
    small = {"resolution": 16, "widths": (16, 24), "depths": (2, 2), "strides": (1, 2), "head_width": 32}
    space = Mobile(MobileSettings.model_validate(small | kind), channels=3, classes=10)
    torch.manual_seed(seed)
    return perturbed(space.build(space.random(Random(seed)))).eval(), torch.randn(8, *space.input_shape)


def by_torch(model: bytes, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return to_module(OnnxGraph(model))(torch.from_numpy(x)).numpy()


def by_onnxruntime(model: bytes, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


@pytest.mark.parametrize("kind", KINDS, ids=["relu6", "se-hardswish", "relu"])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_networks_from_the_quick_writer(kind: dict[str, Any], seed: int) -> None:
    net, x = network(kind, seed)
    model = onnx_graph.write(net, tuple(x.shape[1:]))
    assert np.abs(by_torch(model, x.numpy()) - by_onnxruntime(model, x.numpy())).max() <= 1e-4


@pytest.mark.parametrize("kind", KINDS[:2], ids=["relu6", "se-hardswish"])
def test_networks_from_the_shipping_exporter(kind: dict[str, Any]) -> None:
    net, x = network(kind, 1)
    model = to_onnx(net, x)
    assert np.abs(by_torch(model, x.numpy()) - by_onnxruntime(model, x.numpy())).max() <= 1e-4


def test_half_precision_computes_in_half_precision() -> None:
    net, x = network(KINDS[1], 2)
    exact = onnx_graph.write(net, tuple(x.shape[1:]))
    module = to_module(OnnxGraph(to_fp16(exact)))
    assert {weight.dtype for weight in module.buffers()} == {torch.float16}
    with torch.inference_mode():
        got, expected = module(x), net(x)
    assert got.dtype == torch.float32
    assert 0 < (got - expected).norm() / expected.norm() < 1e-2


def test_batch_norm_is_folded() -> None:
    net, x = network({}, 3)
    module = to_module(OnnxGraph(onnx_graph.write(net, tuple(x.shape[1:]))))
    called = [node.target for node in module.graph.nodes if node.op == "call_function"]
    assert F.batch_norm not in called
    assert called.count(F.conv2d) == sum(isinstance(m, torch.nn.Conv2d) for m in net.modules())


def graph(*nodes: onnx.NodeProto, rank: int = 4, **weights: np.ndarray) -> bytes:
    """From x [batch, 4, 9, 7] through nodes that end in y, of `rank` dimensions."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 9, 7])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"d{i}" for i in range(rank)])
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    body = helper.make_graph(list(nodes), "one", [x], [y], tensors)
    domains = {node.domain for node in nodes}
    imports = [helper.make_opsetid(domain, 18 if domain == "" else 1) for domain in domains]
    return helper.make_model(body, opset_imports=imports, ir_version=10).SerializeToString()


def one(op: str, *more: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, ["x", *more], ["y"], name="it", **attributes)


RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((6, 4, 3, 3), dtype=np.float32)
FOUR = RNG.random((4, 4), dtype=np.float32)
MATRIX = RNG.standard_normal((7, 5), dtype=np.float32)
WIDE = RNG.standard_normal((252, 5), dtype=np.float32)

SOUND = {
    "max pool": graph(one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    "max pool, ceil": graph(one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)),
    "average pool": graph(one("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])),
    "average pool with its padding": graph(
        one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    ),
    "global average": graph(one("GlobalAveragePool")),
    "uneven padding": graph(one("Conv", "w", strides=[2, 2], pads=[0, 1, 1, 0]), w=KERNEL),
    "dilated": graph(one("Conv", "w", dilations=[2, 2], pads=[2, 2, 2, 2]), w=KERNEL),
    "batch norm alone": graph(
        one("BatchNormalization", "scale", "shift", "mean", "var", epsilon=1e-3),
        **dict(zip(("scale", "shift", "mean", "var"), FOUR, strict=True)),
    ),
    "mean over one axis": graph(one("ReduceMean", "axes", keepdims=0), rank=3, axes=np.array([1])),
    "hard sigmoid of ONNX": graph(one("HardSigmoid")),
    "clip below": graph(one("Clip", "low"), low=np.array(0.25, np.float32)),
    "clip above": graph(one("Clip", "", "high"), high=np.array(0.25, np.float32)),
    "concat": graph(helper.make_node("Concat", ["x", "x"], ["y"], axis=1)),
    "matrix product": graph(one("MatMul", "w"), w=MATRIX),
    "reshape that keeps the batch": graph(one("Reshape", "shape"), rank=2, shape=np.array([0, -1])),
    "gemm": graph(
        helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"]), rank=2, w=WIDE
    ),
    "sigmoid, dropout, identity": graph(
        helper.make_node("Sigmoid", ["x"], ["a"]),
        helper.make_node("Dropout", ["a"], ["b"]),
        helper.make_node("Identity", ["b"], ["y"]),
    ),
}


@pytest.mark.parametrize("model", SOUND.values(), ids=SOUND)
def test_operators(model: bytes) -> None:
    x = 3 * np.random.default_rng(1).standard_normal((5, 4, 9, 7), dtype=np.float32)
    got, expected = by_torch(model, x), by_onnxruntime(model, x)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-4


REFUSED = {
    "Erf": graph(one("Erf")),
    "Swirl": graph(one("Swirl", domain="my.own")),
    "padding is not symmetric": graph(one("MaxPool", kernel_shape=[2, 2], pads=[0, 0, 1, 1])),
    "explicit padding": graph(one("Conv", "w", auto_pad="SAME_UPPER"), w=KERNEL),
    "only the batch may stay": graph(one("Flatten", axis=2), rank=2),
    "Shape": graph(helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Reshape", ["x", "s"], ["y"])),
    "only a constant": graph(helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Clip", ["x", "s"], ["y"])),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_it_cannot_translate_is_named(said: str) -> None:
    with pytest.raises(BadInput) as refusal:
        to_module(OnnxGraph(REFUSED[said]))
    assert said in str(refusal.value)
