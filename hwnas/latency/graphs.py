"""Operators and whole networks as ONNX bytes to be timed, in the target's precision.

Weights are random, and so is the input whose ranges int8 keeps: a latency depends on neither. They are the same every
time, because a compiler that packs weights moves its estimate by up to 0.4 % with them.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from hwnas.core.arch import Arch
from hwnas.exporters.onnx import to_onnx
from hwnas.formats.precision import in_precision
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes import Runtime
from hwnas.spaces import Space


def operator_graph(spec: OpSpec, runtime: Runtime) -> bytes:
    return _graph(lambda: build(spec), spec.input_shape, runtime)


def network_graph(space: Space, arch: Arch, runtime: Runtime) -> bytes:
    return _graph(lambda: space.build(arch), space.shape_of(arch), runtime)


def exact_graph(spec: OpSpec) -> bytes:
    """An operator in fp32, whatever the target."""
    return _exact(lambda: build(spec), spec.input_shape)


def _graph(make: Callable[[], nn.Module], input_shape: tuple[int, ...], runtime: Runtime) -> bytes:
    samples = np.random.default_rng(0).standard_normal((1, *input_shape), dtype=np.float32)
    return in_precision(_exact(make, input_shape), runtime.target.precision, runtime.int8_form, samples)


def _exact(make: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> bytes:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = make()
    try:
        return onnx_graph.write(module, input_shape)
    except onnx_graph.Untranslatable:  # a user's own operator: seconds instead of milliseconds, but any module
        return to_onnx(module, torch.zeros(2, *input_shape))
