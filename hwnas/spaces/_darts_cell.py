"""DARTS's cell: which choices decide it, and its modules, plain and mixed.

A cell reads the two cells before it. An intermediate node is the sum of two of its edges, one edge coming from every
node before it; the cell's output is the intermediate nodes side by side.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hwnas.core.arch import Arch, Choice
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Gates
from hwnas.spaces._chain import mix, weigh


class Edge(NamedTuple):
    """`choice`: of its operator. Sources 0 and 1 are the cell's inputs, then come the intermediate nodes."""

    name: str
    source: int
    choice: int


class Node(NamedTuple):
    """`pairs`: the sources of the two edges that it sums, by option of `choice`; None where there is only one pair."""

    edges: tuple[Edge, ...]
    pairs: tuple[tuple[int, int], ...]
    choice: int | None

    def taken(self, arch: Arch) -> list[Edge]:
        pair = self.pairs[0 if self.choice is None else arch[self.choice]]
        return [self.edges[source] for source in pair]

    def conditions(self, edge: Edge) -> list[tuple[tuple[int, int], ...]]:
        """The conditions under which it sums this edge, one of which holds."""
        if self.choice is None:
            return [()]
        return [((self.choice, option),) for option, pair in enumerate(self.pairs) if edge.source in pair]


def wiring(kind: str, nodes: int, operators: tuple[str, ...], first: int) -> tuple[tuple[Node, ...], list[Choice]]:
    """The nodes of a cell and the choices that decide it, numbered from `first`."""
    choices: list[Choice] = []
    made: list[Node] = []
    for number in range(2, 2 + nodes):
        pairs = tuple(combinations(range(number), 2))
        choice = first + len(choices) if len(pairs) > 1 else None
        if choice is not None:
            choices.append(Choice(f"{kind}_node{number}_inputs", tuple(f"{a},{b}" for a, b in pairs)))
        names = [f"node{number}_from{source}" for source in range(number)]
        edges = tuple(Edge(name, source, first + len(choices) + source) for source, name in enumerate(names))
        choices += [Choice(f"{kind}_{name}", operators) for name in names]
        made.append(Node(edges, pairs, choice))
    return tuple(made), choices


class Cell(nn.Module):
    """`inputs`: the operators that bring what it reads to its width. `specs(edge)`: the edge's operators by option."""

    def __init__(
        self,
        inputs: tuple[OpSpec, OpSpec],
        nodes: tuple[Node, ...],
        specs: Callable[[Edge], Sequence[OpSpec]],
        arch: Arch,
    ) -> None:
        super().__init__()
        self.before, self.last = map(build, inputs)
        self.nodes = [node.taken(arch) for node in nodes]
        taken = (edge for edges in self.nodes for edge in edges)
        self.edges = nn.ModuleDict({edge.name: build(specs(edge)[arch[edge.choice]]) for edge in taken})

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        states = [self.before(before), self.last(last)]
        for first, second in self.nodes:
            left, right = (self.edges[edge.name](states[edge.source]) for edge in (first, second))
            states.append(left + right)
        return torch.cat(states[2:], 1)


class MixedCell(nn.Module):
    """All options of every edge, each with weights and batch norm of its own."""

    def __init__(
        self, inputs: tuple[OpSpec, OpSpec], nodes: tuple[Node, ...], specs: Callable[[Edge], Sequence[OpSpec]]
    ) -> None:
        super().__init__()
        self.before, self.last = map(build, inputs)
        self.nodes = nodes
        every = (edge for node in nodes for edge in node.edges)
        self.edges = nn.ModuleDict({edge.name: nn.ModuleList(map(build, specs(edge))) for edge in every})

    def forward(self, before: Tensor, last: Tensor, gates: Gates) -> Tensor:
        states = [self.before(before), self.last(last)]
        for node in self.nodes:
            states.append(self._mixed(node, states, gates))
        return torch.cat(states[2:], 1)

    def _mixed(self, node: Node, states: list[Tensor], gates: Gates) -> Tensor:
        """Σ over its edges, each weighted by the pairs that hold it."""

        def run(source: int) -> Tensor:
            edge = node.edges[source]
            return mix(self._options(edge), states[source], gates[edge.choice])

        pairs = {0: None} if node.choice is None else gates[node.choice]
        if None in pairs.values():
            first, second = node.pairs[next(iter(pairs))]
            return run(first) + run(second)
        return weigh(_weights(node, pairs), run)

    def path_state(self, arch: Arch) -> dict[str, Tensor]:
        """Of `Cell(…, arch)`; the tensors are shared."""
        ends = {"before": self.before, "last": self.last}
        state = {
            f"{end}.{key}": t for end, module in ends.items() for key, t in module.state_dict(keep_vars=True).items()
        }
        for edge in (edge for node in self.nodes for edge in node.taken(arch)):
            chosen = self._options(edge)[arch[edge.choice]].state_dict(keep_vars=True)
            state |= {f"edges.{edge.name}.{key}": value for key, value in chosen.items()}
        return state

    def _options(self, edge: Edge) -> nn.ModuleList:
        options = self.edges[edge.name]
        assert isinstance(options, nn.ModuleList)
        return options


def _weights(node: Node, pairs: Mapping[int, Tensor | None]) -> dict[int, Tensor]:
    """Source → the sum of the gates of the pairs that hold it; only of those that are held."""
    found: dict[int, Tensor] = {}
    for option, gate in pairs.items():
        assert gate is not None
        for source in node.pairs[option]:
            found[source] = found[source] + gate if source in found else gate
    return dict(sorted(found.items()))
