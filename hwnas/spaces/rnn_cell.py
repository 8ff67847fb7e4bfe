"""The recurrent cell of ENAS (arXiv:1802.03268, section 2.1) and DARTS (arXiv:1806.09055, section 3.2).

Node 0 is a highway from the old state, fed by the word. Each of the others reads one earlier node, chosen, through a
function, chosen: s' = c ⊙ f(s·W) + (1 − c) ⊙ s. The new state is the mean of all nodes but the first (DARTS; ENAS takes
those that no other reads). A node has one weight, whatever it reads (DARTS; ENAS has one for each pair).

Ours: how many nodes there are is a choice too, since it is what a step's latency hangs on; `nodes=[8]` is the papers'
space. DARTS puts batch norm behind the nodes of its supernet and none behind a cell's; here neither has any.
"""

from collections.abc import Hashable, Mapping
from functools import cached_property, partial

import torch
from pydantic import model_validator
from torch import Tensor, nn

from hwnas.core.arch import Arch, Choice
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.operators.recurrent import FUNCTIONS, HighwayNode, InputNode, highway, kept, mean
from hwnas.spaces import Conditional, Gates, Space, Window
from hwnas.spaces._chain import weigh
from hwnas.spaces._recurrent import Reader, RecurrentSettings, RecurrentSpace
from hwnas.spaces.lstm import lstms_like

DARTS_1 = "relu0 relu1 tanh2 relu3 relu4 identity1 relu5 relu1"
DARTS_2 = "sigmoid0 relu1 relu1 identity1 tanh2 sigmoid5 tanh3 relu5"
"""The cells that DARTS found, first and second order, as its authors' code has them: function and node read."""


class RnnCellSettings(RecurrentSettings):
    nodes: tuple[int, ...] = (2, 4, 6, 8)
    """Numbers of nodes to choose from, beside node 0."""
    functions: tuple[str, ...] = tuple(FUNCTIONS)

    @model_validator(mode="after")
    def _known(self) -> "RnnCellSettings":
        if list(self.nodes) != sorted(set(self.nodes)) or min(self.nodes, default=0) < 1:
            raise ValueError("nodes must rise from 1 or more")
        if not 0 < len(set(self.functions) & set(FUNCTIONS)) == len(self.functions):
            raise ValueError(f"functions are among {', '.join(FUNCTIONS)}, each once")
        return self


class RnnCell(RecurrentSpace):
    """Choices: the number of nodes where there are several, then each node's source and function."""

    Settings = RnnCellSettings
    settings: RnnCellSettings

    def __init__(self, settings: RnnCellSettings, channels: int, classes: int) -> None:
        super().__init__(settings, channels, classes)
        choices = [Choice("nodes", tuple(map(str, settings.nodes)))] if len(settings.nodes) > 1 else []
        self.places: list[tuple[int | None, int]] = []
        """Of each node: the choices of its source (None for the first, which has but one) and of its function."""
        for node in range(1, max(settings.nodes) + 1):
            source = len(choices) if node > 1 else None
            if source is not None:
                choices.append(Choice(f"node{node}_from", tuple(f"node{other}" for other in range(node))))
            self.places.append((source, len(choices)))
            choices.append(Choice(f"node{node}_function", settings.functions))
        self.choices = tuple(choices)

    @property
    def elastic(self) -> bool:
        return len(self.settings.nodes) > 1

    def count(self, arch: Arch) -> int:
        """Nodes beside node 0."""
        return self.settings.nodes[arch[0] if self.elastic else 0]

    def sources(self, arch: Arch) -> list[int]:
        return [0 if source is None else arch[source] for source, _ in self.places[: self.count(arch)]]

    def functions(self, arch: Arch) -> list[str]:
        return [self.settings.functions[arch[function]] for _, function in self.places[: self.count(arch)]]

    def operators(self) -> tuple[Conditional, ...]:
        return self._conditionals

    @cached_property
    def _conditionals(self) -> tuple[Conditional, ...]:
        s = self.settings
        embedding, words = self.ends(s.hidden)
        found = [Conditional(embedding), Conditional(self._input)]
        depths = [((0, option),) if self.elastic else () for option in range(len(s.nodes))]
        for node, (_, choice) in enumerate(self.places, start=1):
            for option, name in enumerate(s.functions):
                there = (depth for depth, count in zip(depths, s.nodes, strict=True) if count >= node)
                found += [Conditional(self._node(name), ((choice, option), *depth)) for depth in there]
        for depth, count in zip(depths, s.nodes, strict=True):
            found.append(Conditional(OpSpec.of("rnn_mean", (count * s.hidden,), nodes=count), depth))
        return (*found, Conditional(words))

    @property
    def _input(self) -> OpSpec:
        return OpSpec.of("rnn_input", (2 * self.settings.hidden,), hidden=self.settings.hidden)

    def _node(self, function: str) -> OpSpec:
        return OpSpec.of("rnn_node", (self.settings.hidden,), act=function)

    def function(self, arch: Arch) -> Hashable:
        """What a node that is not there would be does not matter."""
        return self.count(arch), tuple(self.sources(arch)), tuple(self.functions(arch))

    def build(self, arch: Arch) -> nn.Module:
        arch = self.check(arch)
        nodes = [build(self._node(name)) for name in self.functions(arch)]
        cell = Cell(build(self._input), nodes, self.sources(arch))
        return Reader(self.ends(self.settings.hidden), cell, self.settings.hidden, self.settings)

    def supernet(self) -> nn.Module:
        return Supernet(self)

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        absent = tuple(f"cell.nodes.{node}." for node in range(self.count(arch), len(self.places)))
        state = supernet.state_dict(keep_vars=True)
        return {key: value for key, value in state.items() if not key.startswith(absent)}

    def reference(self) -> Arch:
        """A recurrent highway network (arXiv:1607.03474) of all nodes: each reads the one before, tanh."""
        function = "tanh" if "tanh" in self.settings.functions else self.settings.functions[0]
        return self.arch(" ".join(f"{function}{node}" for node in range(self.settings.nodes[-1])))

    def arch(self, cell: str) -> Arch:
        """Of a cell written like `DARTS_1`, with as many nodes as the largest; ValueError for what is none."""
        options = [0] * len(self.choices)
        if self.elastic:
            options[0] = len(self.settings.nodes) - 1
        for (source, function), text in zip(self.places, cell.split(), strict=True):
            name = text.rstrip("0123456789")
            options[function] = self.settings.functions.index(name)
            if source is not None:
                options[source] = int(text.removeprefix(name))
        return self.check(tuple(options))

    def baseline(self) -> Space:
        """LSTMs, by their width."""
        return lstms_like(self.settings, self.classes)


class Cell(nn.Module):
    """`sources`: the node that each of `nodes` reads."""

    def __init__(self, first: nn.Module, nodes: list[nn.Module], sources: list[int]) -> None:
        super().__init__()
        self.input, self.nodes, self.sources = first, nn.ModuleList(nodes), sources

    def step(self, word: Tensor, state: Tensor, keep: Tensor | None) -> Tensor:
        assert isinstance(self.input, InputNode)
        states = [self.input.step(word, state, keep)]
        for node, source in zip(self.nodes, self.sources, strict=True):
            assert isinstance(node, HighwayNode)
            states.append(node.step(states[source], keep))
        return mean(states[1:])


class MixedCell(nn.Module):
    """All sources and functions of every node, which share its weight."""

    def __init__(self, space: RnnCell) -> None:
        super().__init__()
        hidden, names = space.settings.hidden, space.settings.functions
        self.input = build(space._input)
        self.nodes = nn.ModuleList(HighwayNode(hidden, names[0]) for _ in space.places)
        self.functions = [FUNCTIONS[name] for name in names]
        self.places, self.counts, self.elastic = space.places, space.settings.nodes, space.elastic

    def step(self, gates: Gates, word: Tensor, state: Tensor, keep: Tensor | None) -> Tensor:
        assert isinstance(self.input, InputNode)
        depths: Mapping[int, Tensor | None] = gates[0] if self.elastic else {0: None}
        states = [self.input.step(word, state, keep)]
        for node in range(max(self.counts[option] for option in depths)):
            source, function = self.places[node]
            sources = {0: None} if source is None else gates[source]
            states.append(self._node(node, states, sources, gates[function], keep))
        return weigh(depths, lambda option: mean(states[1 : 1 + self.counts[option]]))

    def _node(
        self,
        node: int,
        states: list[Tensor],
        sources: Mapping[int, Tensor | None],
        functions: Mapping[int, Tensor | None],
        keep: Tensor | None,
    ) -> Tensor:
        layer = self.nodes[node]
        assert isinstance(layer, HighwayNode)

        def read(state: Tensor) -> Tensor:
            mixed = partial(_mixed, functions, self.functions)
            return highway(layer.linear(kept(state, keep)), state, layer.hidden, mixed)

        weights = [weight for weight in sources.values() if weight is not None and not _is_off(weight)]
        if len(weights) < 2 or len(weights) < len(sources):
            return weigh(sources, lambda source: read(states[source]))
        # All of them run with a graph: as one product, as the authors do.
        several = read(torch.stack([states[source] for source in sources]))
        return (torch.stack(weights).to(several)[:, None, None] * several).sum(0)


def _mixed(gates: Mapping[int, Tensor | None], functions: list, h: Tensor) -> Tensor:
    return weigh(gates, lambda option: functions[option](h))


def _is_off(gate: Tensor) -> bool:
    return gate.is_cpu and gate.item() == 0


class Supernet(Reader):
    """`forward(x, gates)`: which paths run is an argument, never state."""

    def __init__(self, space: RnnCell) -> None:
        s = space.settings
        super().__init__(space.ends(s.hidden), MixedCell(space), s.hidden, s)

    def forward(self, x: Tensor | Window, gates: Gates) -> Tensor:  # type: ignore[override]
        assert isinstance(self.cell, MixedCell)
        return self.read(x, partial(self.cell.step, gates))
