"""TensorRT engines are built without a GPU, by TensorRT-RTX; to run one takes a GPU."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import onnx
import pytest

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.target import Precision
from hwnas.formats.precision import in_precision
from hwnas.operators import onnx_graph
from hwnas.spaces.mobile import Mobile, MobileSettings

Build = Callable[..., bytes]


@pytest.fixture(scope="module")
def build_engine() -> Build:
    try:
        from hwnas.formats.tensorrt_engine import RTX, build_engine
    except Unavailable as error:
        pytest.skip(str(error))
    if not RTX:
        pytest.skip("only TensorRT-RTX builds without a GPU")
    return build_engine


@pytest.fixture(scope="module")
def exact() -> bytes:
    """A network with squeeze-excite and hard swish, fp32."""
    settings = {"resolution": 16, "widths": (16, 24), "depths": (1, 2), "strides": (1, 2), "head_width": 32}
    kind = {"squeeze_excite": True, "activation": "hardswish"}
    space = Mobile(MobileSettings.model_validate(settings | kind), channels=3, classes=10)
    return onnx_graph.write(space.build(space.reference()), space.input_shape)


@pytest.fixture(scope="module")
def in_precisions(exact: bytes) -> dict[str, bytes]:
    samples = np.random.default_rng(0).standard_normal((4, 3, 16, 16), dtype=np.float32)
    return {precision: in_precision(exact, precision, "s8s8", samples) for precision in get_args(Precision)}


@pytest.mark.parametrize("batches", [(1, 1, 64), (4, 4, 4)], ids=["open batch", "fixed batch"])
@pytest.mark.parametrize("precision", get_args(Precision))
def test_engines_are_built(precision: str, batches: tuple, build_engine: Build, in_precisions: dict) -> None:
    assert len(build_engine(in_precisions[precision], batches)) > 10_000


def test_half_precision_halves_the_weights(build_engine: Build, in_precisions: dict) -> None:
    """A strongly typed network keeps the types of the ONNX: no builder flag decides."""
    weights = sum(np.prod(t.dims) * 4 for t in onnx.load_from_string(in_precisions["fp32"]).graph.initializer)
    sizes = {precision: len(build_engine(in_precisions[precision])) for precision in ("fp32", "fp16")}
    assert sizes["fp32"] - sizes["fp16"] > 0.3 * weights


@pytest.mark.parametrize("garbage", [b"", b"not a model", bytes(1000)], ids=["empty", "text", "zeros"])
def test_garbage_is_refused(garbage: bytes, build_engine: Build) -> None:
    with pytest.raises(BadInput):
        build_engine(garbage)


def test_a_fixed_batch_is_no_other(build_engine: Build, exact: bytes) -> None:
    model = onnx.load_from_string(exact)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(BadInput, match="batch of 2"):
        build_engine(model.SerializeToString(), (1, 1, 64))


def test_an_operator_that_tensorrt_lacks_is_named(build_engine: Build, exact: bytes) -> None:
    model = onnx.load_from_string(exact)
    next(node for node in model.graph.node if node.op_type == "HardSwish").op_type = "NoSuchOperator"
    with pytest.raises(BadInput, match="NoSuchOperator"):
        build_engine(model.SerializeToString())
