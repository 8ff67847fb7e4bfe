"""NAS-Bench-201 (Dong & Yang 2020, arXiv:2001.00326): one cell of six edges and five operators, 15,625 networks.

The published skeleton: a 3×3 convolution to 16 channels, five cells, a residual reduction, five cells at 32 channels, a
reduction, five cells at 64, batch norm, ReLU, classifier. Every cell is the same. `width` and `cells` make it smaller.
Edges that lead nowhere are built, run and counted, as they were for the published parameters and latencies; a cell
whose output is disconnected is in the benchmark, and so in the space.
"""

from collections import OrderedDict
from collections.abc import Hashable
from functools import cached_property, reduce
from operator import add

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from hwnas.core.arch import Arch, Choice
from hwnas.core.config import Settings
from hwnas.operators import build, output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Conditional, Gates, Space, fewer_channels
from hwnas.spaces import _cell201 as cell201
from hwnas.spaces._cell201 import EDGES, NONE, OPERATORS
from hwnas.spaces._chain import mix

EDGE_NAMES = tuple(f"node{node}_from{source}" for node, source in EDGES)
_STAGES = 3


class Nasbench201Settings(Settings):
    resolution: int = Field(default=32, ge=8, multiple_of=4)
    width: int = Field(default=16, ge=1)
    """Channels of the first stage; each reduction doubles them."""
    cells: int = Field(default=5, ge=1)
    """A stage."""


class Nasbench201(Space):
    """One choice an edge."""

    Settings = Nasbench201Settings
    is_chain = False

    def __init__(self, settings: Nasbench201Settings, channels: int, classes: int) -> None:
        self.settings, self.classes = settings, classes
        self.input_shape = (channels, settings.resolution, settings.resolution)
        self.choices = tuple(Choice(name, OPERATORS) for name in EDGE_NAMES)

    @cached_property
    def skeleton(self) -> tuple[tuple[str, OpSpec | None, tuple[int, ...]], ...]:
        """(name, operator or None for a cell, input shape) in forward order."""
        width = self.settings.width
        stem = OpSpec.of("conv", self.input_shape, out=width, kernel=3, stride=1, act="none")
        places: list[tuple[str, OpSpec | None, tuple[int, ...]]] = [("stem", stem, self.input_shape)]
        shape = output_shape(stem)
        for stage in range(1, _STAGES + 1):
            if stage > 1:
                reduction = OpSpec.of("residual_reduction", shape, out=2 * shape[0])
                places.append((f"reduction{stage - 1}", reduction, shape))
                shape = output_shape(reduction)
            places += [(f"stage{stage}_cell{i}", None, shape) for i in range(1, self.settings.cells + 1)]
        places.append(("last", OpSpec.of("norm_relu", shape), shape))
        return (*places, ("classifier", OpSpec.of("classifier", shape, classes=self.classes), shape))

    def operators(self) -> tuple[Conditional, ...]:
        return self._conditionals

    @cached_property
    def _conditionals(self) -> tuple[Conditional, ...]:
        found: list[Conditional] = []
        for _, spec, shape in self.skeleton:
            if spec is not None:
                found.append(Conditional(spec))
                continue
            options = [(option, edge) for option, edge in enumerate(edge_operators(shape)) if option != NONE]
            found += [Conditional(spec, ((i, option),)) for i in range(len(EDGES)) for option, spec in options]
        return tuple(found)

    def build(self, arch: Arch) -> nn.Module:
        arch = self.check(arch)
        return nn.Sequential(
            OrderedDict(
                (name, Cell(arch, shape) if spec is None else build(spec)) for name, spec, shape in self.skeleton
            )
        )

    def supernet(self) -> nn.Module:
        return CellSupernet(self)

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        assert isinstance(supernet, CellSupernet)
        state: dict[str, Tensor] = {}
        for name, module in supernet.named_children():
            own = module.path_state(arch) if isinstance(module, MixedCell) else module.state_dict(keep_vars=True)
            state |= {f"{name}.{key}": value for key, value in own.items()}
        return state

    def reference(self) -> Arch:
        """The ResNet cell of the paper (its table 4): two 3×3 convolutions in a row, and a skip around them."""
        return cell201.parse("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|")

    def baseline(self) -> "Space | None":
        return None

    def narrowed(self, share: float) -> Space:
        fewer = {
            "width": fewer_channels(self.settings.width, share),
            "cells": max(1, round(share * self.settings.cells)),
        }
        return Nasbench201(self.settings.model_copy(update=fewer), self.input_shape[0], self.classes)

    def function(self, arch: Arch) -> Hashable:
        return cell201.function(arch)

    def features(self, archs: np.ndarray) -> np.ndarray:
        return cell201.describe(archs)


def edge_operators(shape: tuple[int, ...]) -> tuple[OpSpec, ...]:
    """In the order of `OPERATORS`."""
    return (
        OpSpec.of("zero", shape),
        OpSpec.of("skip", shape),
        OpSpec.of("relu_conv", shape, out=shape[0], kernel=1, stride=1),
        OpSpec.of("relu_conv", shape, out=shape[0], kernel=3, stride=1),
        OpSpec.of("avg_pool", shape, kernel=3, stride=1),
    )


class Cell(nn.Module):
    """Nodes are sums of edges. An edge that holds `none` is not there; a node without edges is zero."""

    def __init__(self, arch: Arch, shape: tuple[int, ...]) -> None:
        super().__init__()
        specs = edge_operators(shape)
        self.edges = nn.ModuleDict(
            {name: build(specs[o]) for name, o in zip(EDGE_NAMES, arch, strict=True) if o != NONE}
        )
        self.zero = build(specs[NONE])

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for node in (1, 2, 3):
            names = [
                (name, s) for name, (n, s) in zip(EDGE_NAMES, EDGES, strict=True) if n == node and name in self.edges
            ]
            terms = [self.edges[name](nodes[source]) for name, source in names]
            nodes.append(reduce(add, terms) if terms else self.zero(x))
        return nodes[-1]


class MixedCell(nn.Module):
    """All options of every edge, each with weights and batch norm of its own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(nn.ModuleList(map(build, edge_operators(shape))) for _ in EDGES)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        nodes = [x]
        for node in (1, 2, 3):
            edges = [(i, source) for i, (n, source) in enumerate(EDGES) if n == node]
            nodes.append(reduce(add, (mix(self._options(i), nodes[source], gates[i]) for i, source in edges)))
        return nodes[-1]

    def path_state(self, arch: Arch) -> dict[str, Tensor]:
        """Of `Cell(arch, …)`; the tensors are shared."""
        return {
            f"edges.{name}.{key}": value
            for i, (name, option) in enumerate(zip(EDGE_NAMES, arch, strict=True))
            for key, value in self._options(i)[option].state_dict(keep_vars=True).items()
        }

    def _options(self, edge: int) -> nn.ModuleList:
        options = self.edges[edge]
        assert isinstance(options, nn.ModuleList)
        return options


class CellSupernet(nn.Module):
    """`forward(x, gates)`; the gates of an edge are the same in every cell."""

    def __init__(self, space: Nasbench201) -> None:
        super().__init__()
        for name, spec, shape in space.skeleton:
            self.add_module(name, MixedCell(shape) if spec is None else build(spec))

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        for module in self.children():
            x = module(x, gates) if isinstance(module, MixedCell) else module(x)
        return x
