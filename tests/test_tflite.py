"""ONNX → TFLite: the same numbers as ONNX Runtime, in NHWC without a transpose, and refusals by name."""

import contextlib
from collections import Counter
from random import Random

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import nn

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="needs ai-edge-litert")

from hwnas.core.errors import BadInput, VerificationFailed  # noqa: E402
from hwnas.deploy.parity import compare_session, require_parity  # noqa: E402
from hwnas.deploy.samples import logits_of  # noqa: E402
from hwnas.devices import open_runtime  # noqa: E402
from hwnas.exporters import Exporter  # noqa: E402
from hwnas.exporters.litert import Litert  # noqa: E402
from hwnas.exporters.litert_int8 import LitertInt8  # noqa: E402
from hwnas.exporters.onnx import to_onnx  # noqa: E402
from hwnas.formats.int8 import quantize  # noqa: E402
from hwnas.formats.tflite import from_onnx  # noqa: E402
from hwnas.formats.tflite.interpreter import Tflite  # noqa: E402
from hwnas.operators import build, onnx_graph  # noqa: E402
from hwnas.operators.basic import ACTIVATIONS  # noqa: E402
from hwnas.operators.opspec import OpSpec  # noqa: E402
from hwnas.spaces.mobile import Mobile, MobileSettings  # noqa: E402
from hwnas.testing.space import perturbed  # noqa: E402

KINDS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
BLOCKS = [(kernel, stride, size) for kernel in (3, 5, 7) for stride in (1, 2) for size in ((15, 12), (8, 13))]
SKELETON = {"resolution": 16, "widths": (16, 24), "depths": (2, 2), "strides": (1, 2), "head_width": 48}


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("se", [False, True], ids=["plain", "squeeze-excite"])
@pytest.mark.parametrize(("kernel", "stride", "size"), BLOCKS)
def test_blocks_compute_the_same(kernel: int, stride: int, size: tuple[int, int], se: bool, act: str) -> None:
    attributes = {"kernel": kernel, "stride": stride, "act": act, "se": se}
    _same(build(OpSpec.of("mbconv", (8, *size), out=8, expand=3, **attributes)), (8, *size))


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize(("kernel", "stride", "size"), BLOCKS)
def test_stems_compute_the_same(kernel: int, stride: int, size: tuple[int, int], act: str) -> None:
    _same(build(OpSpec.of("conv", (3, *size), out=8, kernel=kernel, stride=stride, act=act)), (3, *size))


class _Lone(nn.Module):
    """Operators that no block of ours has, or not where another could absorb them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layers(x)
        return y + y * x


@pytest.mark.parametrize("layer", [nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish, nn.ReLU, nn.ReLU6, nn.Identity])
def test_lone_operators_compute_the_same(layer: type[nn.Module]) -> None:
    _same(_Lone(layer()), (4, 5, 6))


def test_heads_compute_the_same() -> None:
    _same(build(OpSpec.of("classifier", (24, 5, 7), classes=10)), (24, 5, 7))
    _same(nn.Sequential(nn.Linear(7, 5, bias=False), nn.ReLU(), nn.Linear(5, 3)), (7,))


@pytest.mark.parametrize("seed", range(20))
def test_networks_compute_the_same(seed: int) -> None:
    """Random ones of the mobile space; every second with squeeze-excitation, every third with hard-swish."""
    act = "hardswish" if seed % 3 == 0 else "relu6"
    space = Mobile(MobileSettings(**SKELETON, squeeze_excite=seed % 2 == 0, activation=act), channels=3, classes=10)
    torch.manual_seed(seed)
    _same(space.build(space.random(Random(seed))), space.input_shape)


def _same(module: nn.Module, shape: tuple[int, ...]) -> None:
    """As ONNX Runtime: in fp32 within 1e-4, in int8 within a few steps, where one step is what rounding costs."""
    torch.manual_seed(1)
    module = perturbed(module).eval()
    x = np.random.default_rng(0).standard_normal((6, *shape), dtype=np.float32)
    model = onnx_graph.write(module, shape)
    expected = _onnxruntime(model, x)
    assert np.abs(_litert(model, x) - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    for form in ("u8s8", "s8s8"):
        rounded = quantize(model, x, form)
        steps = np.abs(_litert(rounded, x) - _onnxruntime(rounded, x)) / _last_scale(rounded)
        assert steps.mean() <= 1, f"{form}: {steps.mean():.2f} steps on average"
        assert steps.max() <= 6.01, f"{form}: {steps.max():.1f} steps"


def _onnxruntime(model: bytes, x: np.ndarray) -> np.ndarray:
    """As the file says, operator by operator: fused int8 kernels would round once more or less."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def _litert(model: bytes, x: np.ndarray) -> np.ndarray:
    return Tflite(from_onnx(model)).infer(x)


def _last_scale(model: bytes) -> float:
    graph = onnx.load_from_string(model).graph
    (last,) = [node for node in graph.node if graph.output[0].name in node.output]
    return float(next(onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name == last.input[1]))


def test_the_shipped_file_is_converted_too() -> None:
    space = Mobile(MobileSettings(**SKELETON, squeeze_excite=True), channels=3, classes=10)
    network = perturbed(space.build(space.reference())).eval()
    x = torch.randn(4, *space.input_shape)
    shipped = to_onnx(network, x)
    assert _operators(shipped) == _operators(onnx_graph.write(network, space.input_shape))
    with torch.no_grad():
        assert np.abs(_litert(shipped, x.numpy()) - network(x).numpy()).max() <= 1e-4


def test_nothing_is_transposed_and_activations_are_fused() -> None:
    block = build(OpSpec.of("mbconv", (8, 16, 16), out=8, kernel=5, stride=1, expand=6, act="relu6")).eval()
    model = onnx_graph.write(block, (8, 16, 16))
    x = np.random.default_rng(0).standard_normal((2, 8, 16, 16), dtype=np.float32)
    for content in (model, quantize(model, x, "u8s8"), quantize(model, x, "s8s8")):
        assert _operators(content) == {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 1, "ADD": 1}


@pytest.mark.parametrize(("stride", "size", "pads"), [(1, 16, 0), (2, 15, 0), (2, 16, 1)])
def test_padding_is_explicit_only_where_same_differs(stride: int, size: int, pads: int) -> None:
    stem = build(OpSpec.of("conv", (3, size, size), out=8, kernel=3, stride=stride, act="relu6")).eval()
    assert _operators(onnx_graph.write(stem, (3, size, size)))["PAD"] == pads


def _operators(model: bytes) -> Counter[str]:
    found = schema.ModelT.InitFromPackedBuf(from_onnx(model), 0)
    codes = [KINDS[code.builtinCode] for code in found.operatorCodes]
    return Counter(codes[operator.opcodeIndex] for operator in found.subgraphs[0].operators)


def test_weights_are_aligned_as_the_schema_asks() -> None:
    content = from_onnx(onnx_graph.write(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 3, 1)).eval(), (3, 9, 9)))
    buffers = [buffer.data for buffer in schema.ModelT.InitFromPackedBuf(content, 0).buffers if buffer.data is not None]
    assert len(buffers) == 4
    assert all(content.index(data.tobytes()) % 16 == 0 for data in buffers)


def test_the_batch_is_as_asked_and_can_be_another() -> None:
    model = onnx_graph.write(build(OpSpec.of("classifier", (6, 4, 4), classes=3)).eval(), (6, 4, 4))
    assert schema.ModelT.InitFromPackedBuf(from_onnx(model, 4), 0).subgraphs[0].tensors[0].shape.tolist() == [
        4,
        4,
        4,
        6,
    ]
    session = Tflite(from_onnx(model, 4))
    x = np.random.default_rng(0).standard_normal((7, 6, 4, 4), dtype=np.float32)
    assert np.allclose(session.infer(x), _onnxruntime(model, x), atol=1e-5)
    session.invoke()
    with pytest.raises(BadInput, match="takes"):
        session.infer(x[:, :5])


def _model(op: str, shape: list[int | str], *weights: np.ndarray, rank: int = 4, **attributes: object) -> bytes:
    """One operator between the input x and the output y, which has `rank` dimensions."""
    names = [f"w{i}" for i in range(len(weights))]
    tensors = [onnx.numpy_helper.from_array(w, name) for w, name in zip(weights, names, strict=True)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"d{i}" for i in range(rank)])
    node = helper.make_node(op, ["x", *names], ["y"], name="the_node", **attributes)
    graph = helper.make_graph([node], "one", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


IMAGE = ["n", 4, 6, 6]
ZERO, ONE = np.array(0, np.float32), np.array(1, np.float32)
REFUSED = {
    "Softmax": _model("Softmax", IMAGE),
    "MaxPool": _model("MaxPool", IMAGE, kernel_shape=[2, 2]),
    "Clip": _model("Clip", IMAGE, ZERO, ONE),
    "HardSigmoid": _model("HardSigmoid", IMAGE),
    "not PyTorch's": _model("HardSigmoid", IMAGE, alpha=float("nan"), beta=0.5),
    "Flatten": _model("Flatten", IMAGE, rank=2),
    "Reshape": _model("Reshape", IMAGE, np.array([0, 2, -1]), rank=3),
    "ReduceMean": _model("ReduceMean", IMAGE, np.array([1])),
    "2 groups": _model("Conv", IMAGE, np.ones((4, 2, 3, 3), np.float32), group=2),
    "is dilated": _model("Conv", IMAGE, np.ones((4, 4, 3, 3), np.float32), dilations=[2, 2]),
    "padded automatically": _model("Conv", IMAGE, np.ones((4, 4, 3, 3), np.float32), auto_pad="SAME_UPPER"),
    "Gemm": _model("Gemm", ["n", 4], np.ones((4, 3), np.float32), rank=2),
    "is a constant": _model("Add", IMAGE, np.ones((1, 4, 1, 1), np.float32)),
    "open beyond|is not": _model("Relu", ["n", 4, "h", "w"]),
    "batch of 3": _model("Relu", [3, 4, 6, 6]),
    "BatchNormalization": _model("BatchNormalization", IMAGE, *np.ones((4, 4), np.float32)),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_written_is_refused_by_name(said: str) -> None:
    with pytest.raises(BadInput, match=said):
        from_onnx(REFUSED[said])


@pytest.fixture
def rounded_head() -> onnx.ModelProto:
    block = build(OpSpec.of("classifier", (4, 4, 4), classes=3)).eval()
    return onnx.load_from_string(
        quantize(onnx_graph.write(block, (4, 4, 4)), np.ones((1, 4, 4, 4), np.float32), "u8s8")
    )


def test_half_quantised_models_are_refused(rounded_head: onnx.ModelProto) -> None:
    nodes = rounded_head.graph.node
    last = next(node for node in nodes if node.op_type == "Gemm")
    del nodes[list(nodes).index(last) + 1 :]
    last.output[0] = rounded_head.graph.output[0].name
    with pytest.raises(BadInput, match="not quantised itself"):
        from_onnx(rounded_head.SerializeToString())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_scales_are_refused(rounded_head: onnx.ModelProto, scale: float) -> None:
    """LiteRT would abort the process."""
    first = next(node for node in rounded_head.graph.node if node.op_type == "QuantizeLinear")
    (stored,) = [tensor for tensor in rounded_head.graph.initializer if tensor.name == first.input[1]]
    stored.CopyFrom(onnx.numpy_helper.from_array(np.array(scale, np.float32), stored.name))
    with pytest.raises(BadInput, match="quantised as"):
        from_onnx(rounded_head.SerializeToString())


def test_a_dequantisation_by_another_scale_is_refused(rounded_head: onnx.ModelProto) -> None:
    scales = [node.input[1] for node in rounded_head.graph.node if node.op_type == "QuantizeLinear"]
    last = [node for node in rounded_head.graph.node if node.op_type == "DequantizeLinear"][-1]
    last.input[1] = next(scale for scale in scales if scale != last.input[1])
    with pytest.raises(BadInput, match="undoes another"):
        from_onnx(rounded_head.SerializeToString())


@pytest.mark.parametrize("garbage", [b"", b"not a model", bytes(1000), b"\x80\x04\x95 pickled"])
def test_what_is_no_model_is_refused(garbage: bytes) -> None:
    with pytest.raises(BadInput):
        from_onnx(garbage)


_WHOLE = onnx_graph.write(
    build(OpSpec.of("mbconv", (4, 6, 6), out=4, kernel=3, stride=1, expand=2, act="relu6", se=True)).eval(), (4, 6, 6)
)
_ROUNDED = quantize(_WHOLE, np.ones((1, 4, 6, 6), np.float32), "s8s8")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([_WHOLE, _ROUNDED]), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4))
def test_a_damaged_model_is_refused_or_converted(model: bytes, damage: list[tuple[int, int]]) -> None:
    content = bytearray(model)
    for place, value in damage:
        content[place % len(content)] = value
    with contextlib.suppress(BadInput):
        assert from_onnx(bytes(content))


def test_xnnpack_runs_the_whole_network() -> None:
    block = build(OpSpec.of("mbconv", (4, 8, 8), out=4, kernel=3, stride=1, expand=2, act="relu6")).eval()
    kinds = {op["op_name"] for op in Tflite(from_onnx(onnx_graph.write(block, (4, 8, 8))))._ready._get_ops_details()}
    assert "DELEGATE" in kinds


@pytest.mark.parametrize("exporter", [Litert(), LitertInt8()], ids=["fp32", "int8"])
def test_a_file_of_another_network_breaks_parity(exporter: Exporter) -> None:
    ours, other = (build(OpSpec.of("classifier", (4, 6, 6), classes=10)).eval() for _ in range(2))
    x = torch.randn(64, 4, 6, 6)
    model = onnx_graph.write(other, (4, 6, 6))
    for parameter in ours.parameters():
        parameter.data = 100 * torch.randn_like(parameter)
    runtime, (content,) = open_runtime(exporter.judge), exporter.convert(model, x.numpy())
    parities = [
        compare_session(type(exporter), runtime.load_exported(content), x, logits_of(network, x))
        for network in (other, ours)
    ]
    require_parity(parities[0], type(exporter), "theirs")
    with pytest.raises(VerificationFailed):
        require_parity(parities[1], type(exporter), "ours")
