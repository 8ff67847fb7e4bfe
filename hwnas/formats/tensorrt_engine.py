"""ONNX → a TensorRT engine, by TensorRT (https://docs.nvidia.com/deeplearning/tensorrt) 10 or 11, or TensorRT-RTX.

Networks are strongly typed: the precision is what the ONNX says, fp16 by its tensors, int8 by explicit Q/DQ of form
s8s8. TensorRT builds on the GPU it builds for; RTX builds anywhere, for every RTX card.
"""

import contextlib
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib import import_module
from typing import Any

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.nvidia import compute_capability, nvidia_gpu
from hwnas.formats.engine_facts import EngineFacts, require_for, require_whole


def _library() -> Any:
    for name in ("tensorrt", "tensorrt_rtx"):
        with contextlib.suppress(ImportError):  # not installed, or without its libraries
            return import_module(name)
    raise Unavailable(
        "neither TensorRT nor TensorRT-RTX is installed",
        "pip install tensorrt, or tensorrt-rtx (for GeForce and RTX cards; it builds engines on any machine)",
    )


trt = _library()
RTX = trt.__name__ == "tensorrt_rtx"


def build_engine(model: bytes, batches: tuple[int, int, int] = (1, 1, 64)) -> bytes:
    """`model`: ONNX, one float input with an open batch. `batches`: the smallest, the one that kernels are chosen for,
    and the largest; where all are one, the engine's shapes are fixed.

    Raises BadInput naming what TensorRT refuses.
    """
    builder, log = _builder(), logger()
    log.errors.clear()
    network = builder.create_network(_strongly_typed())
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        raise _refused([f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors])
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32
    if RTX:
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # its engines cannot be captured otherwise
    else:
        config.set_timing_cache(_timed_kernels(), False)
    if network.num_inputs != 1 or network.get_input(0).dtype != trt.float32 or not network.num_outputs:
        raise BadInput("the model must have one float input", "export it with a single image input")
    source = network.get_input(0)
    first, *rest = source.shape
    if min(rest, default=0) < 1:
        raise BadInput(f"the model's input shape {tuple(source.shape)} is open beyond the batch")
    if first != -1 and set(batches) != {first}:
        raise BadInput(f"the model takes a batch of {first}, not of {batches}", "export it with a dynamic batch")
    if len(set(batches)) == 1:
        source.shape = (batches[0], *rest)
    else:
        profile = builder.create_optimization_profile()
        profile.set_shape(source.name, *((batch, *rest) for batch in batches))
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise _refused(log.errors)
    return bytes(engine)


def described(engine: bytes, model: bytes, batches: tuple[int, int, int]) -> bytes:
    """The sidecar of an engine built here, as JSON. Raises Unavailable when there is no GPU, and it takes one."""
    gpu, capability = ("", "") if RTX else (nvidia_gpu()[0], compute_capability())
    return EngineFacts(
        library=trt.__name__,
        version=trt.__version__,
        gpu=gpu,
        compute_capability=capability,
        flags=("strongly typed", "no TF32", *(["user allocation"] if RTX else [])),
        batches=batches,
        engine_sha256=sha256(engine).hexdigest(),
        model_sha256=sha256(model).hexdigest(),
    ).to_json()


def require_for_this_gpu(engine: bytes, sidecar: bytes, model: bytes) -> EngineFacts:
    """Raises BadInput when the three do not belong together, or the engine is for another GPU, library or version than
    are here; Unavailable without a GPU."""
    facts = require_whole(engine, sidecar, model)
    require_for(facts, trt.__name__, trt.__version__, nvidia_gpu()[0], compute_capability())
    return facts


def _strongly_typed() -> int:
    """The flag of TensorRT 10; without a flag where networks are of no other kind."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _refused(errors: Sequence[str]) -> BadInput:
    return BadInput(f"TensorRT refuses the model: {' '.join((errors or ['it says not why'])[0].split())[:300]}")


class _Log(trt.ILogger):
    """TensorRT explains a refusal to its logger alone."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(message)


@cache
def logger() -> _Log:
    """TensorRT takes one a process."""
    return _Log()


@cache
def _builder() -> Any:
    return trt.Builder(logger())


@cache
def _timed_kernels() -> Any:
    """What building one engine learnt about kernels serves the next: a profile builds two hundred."""
    return _builder().create_builder_config().create_timing_cache(b"")
