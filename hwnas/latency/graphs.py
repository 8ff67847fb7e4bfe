"""Operators and whole networks as ONNX bytes to be timed. Weights are random: a latency does not depend on them."""

import torch
from torch import nn

from hwnas.core.arch import Arch
from hwnas.exporters.onnx import to_onnx
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space


def operator_graph(spec: OpSpec) -> bytes:
    return _graph(build(spec), spec.input_shape)


def network_graph(space: Space, arch: Arch) -> bytes:
    return _graph(space.build(arch), space.input_shape)


def _graph(module: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    try:
        return onnx_graph.write(module, input_shape)
    except onnx_graph.Untranslatable:  # a user's own operator: seconds instead of milliseconds, but any module
        return to_onnx(module, torch.zeros(2, *input_shape))
