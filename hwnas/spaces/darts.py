"""DARTS's space (Liu et al. 2019, arXiv:1806.09055, section 3.1.1): a normal and a reduction cell, stacked.

A cell has two inputs and four nodes, each the sum of two edges from nodes before it; cells at 1/3 and 2/3 of the depth
are reduction cells, whose edges from the inputs have stride 2. `form` search is the paper's network of eight cells at
width 16, paper the one that is trained, 20 cells at width 36; the default is smaller. `operators`: the published sets.

Choices of a cell: each node's pair of inputs, and each edge's operator. An operator runs where its edge is in the pair,
so that a network's latency is a sum of its operators, E[latency] is exact, and a budget an integer program.
Deviations: `none`, DARTS's eighth operator, is an edge that is in no pair, and two edges a node are kept while
searching, not only at the end; a node's two inputs differ (ENAS and AmoebaNet may read one twice) and all nodes are
the output (theirs: those that no other reads); pools have no batch norm; no auxiliary head, no drop-path.
"""

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor, nn

from hwnas.core.arch import Arch
from hwnas.operators import build, output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Conditional, Gates, Space
from hwnas.spaces._darts_cell import Cell, Edge, MixedCell, Node, wiring
from hwnas.spaces._darts_published import DARTS_V2, OPERATORS, Genotype
from hwnas.spaces._forms import FormedSettings
from hwnas.spaces.mobilenet_v2 import MobilenetV2


class DartsSettings(FormedSettings):
    FORMS: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {},
        "search": {"width": 16, "cells": 8, "stem_stride": 1},
        "paper": {"width": 36, "cells": 20, "stem_stride": 1},
    }

    resolution: int = Field(default=32, ge=8)
    stem_stride: int = Field(default=2, ge=1, le=2)
    width: int = Field(default=8, ge=2)
    """Channels of a node in the first cells; each reduction doubles them."""
    cells: int = Field(default=5, ge=3)
    nodes: int = Field(default=4, ge=1)
    """Intermediate ones; ENAS, NASNet and AmoebaNet have five."""
    operators: Literal["darts", "snas", "enas", "amoebanet"] = "darts"

    @model_validator(mode="after")
    def _halves_twice(self) -> "DartsSettings":
        if self.resolution % (4 * self.stem_stride):
            raise ValueError("resolution must be a multiple of 4 · stem_stride: two cells halve it")
        return self


class Place:
    """A cell in the network: the operators at its two inputs, and those on its edges."""

    def __init__(self, kind: str, names: tuple[str, ...], inputs: tuple[OpSpec, OpSpec]) -> None:
        self.kind, self.inputs = kind, inputs
        shape = output_shape(inputs[1])
        half = (shape[0], shape[1] // 2, shape[2] // 2)
        self.plain = tuple(_operator(name, half if kind == "reduction" else shape, 1) for name in names)
        self.strided = tuple(_operator(name, shape, 2) for name in names)

    def specs(self, edge: Edge) -> tuple[OpSpec, ...]:
        return self.strided if self.kind == "reduction" and edge.source < 2 else self.plain

    @property
    def output(self) -> tuple[int, ...]:
        """Of one node."""
        return output_shape((self.strided if self.kind == "reduction" else self.plain)[0])


def _operator(name: str, shape: tuple[int, ...], stride: int) -> OpSpec:
    if name == "skip_connect":
        reduction = OpSpec.of("factorized_reduction", shape, out=shape[0])
        return OpSpec.of("skip", shape) if stride == 1 else reduction
    kind, _, size = name.rpartition("_")
    return OpSpec.of(kind, shape, kernel=int(size.partition("x")[0]), stride=stride)


class Darts(Space):
    Settings = DartsSettings
    is_chain = False

    def __init__(self, settings: DartsSettings, channels: int, classes: int) -> None:
        self.settings, self.classes = settings, classes
        self.input_shape = (channels, settings.resolution, settings.resolution)
        self.names = OPERATORS[settings.operators]
        normal, choices = wiring("normal", settings.nodes, self.names, 0)
        reduction, more = wiring("reduction", settings.nodes, self.names, len(choices))
        self.wiring = {"normal": normal, "reduction": reduction}
        self.choices = (*choices, *more)

    @cached_property
    def stem(self) -> OpSpec:
        s = self.settings
        return OpSpec.of("conv", self.input_shape, out=3 * s.width, kernel=3, stride=s.stem_stride, act="none")

    @cached_property
    def places(self) -> tuple[Place, ...]:
        s, found = self.settings, list[Place]()
        width, before, last = s.width, output_shape(self.stem), output_shape(self.stem)
        for cell in range(s.cells):
            kind = "reduction" if cell in (s.cells // 3, 2 * s.cells // 3) else "normal"
            width *= 2 if kind == "reduction" else 1
            fit = OpSpec.of("relu_conv", before, out=width, kernel=1, stride=1)
            halve = OpSpec.of("factorized_reduction", before, out=width)
            beside = fit if before[1:] == last[1:] else halve
            inputs = (beside, OpSpec.of("relu_conv", last, out=width, kernel=1, stride=1))
            found.append(Place(kind, self.names, inputs))
            before, last = last, (s.nodes * width, *found[-1].output[1:])
        return tuple(found)

    @cached_property
    def classifier(self) -> OpSpec:
        channels, *size = self.places[-1].output
        return OpSpec.of("classifier", (self.settings.nodes * channels, *size), classes=self.classes)

    def operators(self) -> tuple[Conditional, ...]:
        return self._conditionals

    @cached_property
    def _conditionals(self) -> tuple[Conditional, ...]:
        found = [Conditional(self.stem)]
        for place in self.places:
            found += map(Conditional, place.inputs)
            found += [
                Conditional(spec, ((edge.choice, option), *in_pair))
                for node in self.wiring[place.kind]
                for edge in node.edges
                for option, spec in enumerate(place.specs(edge))
                for in_pair in node.conditions(edge)
            ]
        return (*found, Conditional(self.classifier))

    def build(self, arch: Arch) -> nn.Module:
        arch = self.check(arch)
        return Stack(self, lambda place, nodes: Cell(place.inputs, nodes, place.specs, arch))

    def supernet(self) -> nn.Module:
        return MixedStack(self, lambda place, nodes: MixedCell(place.inputs, nodes, place.specs))

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        assert isinstance(supernet, MixedStack)
        state = {k: v for k, v in supernet.state_dict(keep_vars=True).items() if not k.startswith("cells.")}
        for number, cell in enumerate(supernet.cells):
            assert isinstance(cell, MixedCell)
            state |= {f"cells.{number}.{key}": value for key, value in cell.path_state(arch).items()}
        return state

    def reference(self) -> Arch:
        """The paper's best cells. A set without dilated convolutions has plain ones there; more nodes repeat the
        last."""
        arch = [0] * len(self.choices)
        for kind, nodes in self.wiring.items():
            for node, taken in zip(nodes, _of_length(DARTS_V2[kind], len(nodes)), strict=True):
                if node.choice is not None:
                    arch[node.choice] = node.pairs.index((taken[0][1], taken[1][1]))
                for name, source in taken:
                    known = name if name in self.names else "sep_conv_3x3"
                    arch[node.edges[source].choice] = self.names.index(known)
        return tuple(arch)

    def baseline(self) -> Space:
        """Real MobileNetV2 at this resolution, by width multiplier."""
        channels, resolution, _ = self.input_shape
        return MobilenetV2.beside(resolution, channels, self.classes, self.settings.stem_stride, (2, 2))

    def function(self, arch: Arch) -> Hashable:
        """What would stand on an edge that is not taken does not matter."""
        taken = {edge.choice for node in self._nodes for edge in node.taken(arch)}
        absent = {edge.choice for node in self._nodes for edge in node.edges} - taken
        return tuple(0 if choice in absent else option for choice, option in enumerate(arch))

    def features(self, archs: np.ndarray) -> np.ndarray:
        """One-hot operators of the edges that are taken."""
        columns: list[np.ndarray] = []
        for node in self._nodes:
            taken = np.zeros(len(archs), int) if node.choice is None else archs[:, node.choice]
            for edge in node.edges:
                present = np.array([edge.source in pair for pair in node.pairs])[taken]
                columns.append(np.eye(len(self.names))[archs[:, edge.choice]] * present[:, None])
        return np.hstack(columns)

    @cached_property
    def _nodes(self) -> tuple[Node, ...]:
        return tuple(node for nodes in self.wiring.values() for node in nodes)


def _of_length(genotype: Genotype, nodes: int) -> Genotype:
    return (*genotype, *[genotype[-1]] * nodes)[:nodes]


class Stack(nn.Module):
    """Stem, cells that read the two before them, classifier."""

    def __init__(self, space: Darts, make: Callable[[Place, tuple[Node, ...]], nn.Module]) -> None:
        super().__init__()
        self.stem = build(space.stem)
        self.cells = nn.ModuleList(make(place, space.wiring[place.kind]) for place in space.places)
        self.classifier = build(space.classifier)

    def forward(self, x: Tensor) -> Tensor:
        before = last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return self.classifier(last)


class MixedStack(Stack):
    """`forward(x, gates)`; cells of a kind have the same gates."""

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        before = last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last, gates)
        return self.classifier(last)
