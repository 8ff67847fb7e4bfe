"""The recurrent cell of NAS-RL (Zoph & Le 2017, arXiv:1611.01578, section 3.4 and figure 5): a binary tree.

Each leaf combines the word and the old output, a matrix each; each other node combines its two children. A node adds or
multiplies, and then applies a function. At one node, chosen, the old memory is combined in as well; the new memory is
what another, chosen, held before its function. The new output is the root's. Eight leaves: the paper's 6 · 10^16 cells.

No node has a choice of its inputs, so options cannot be mixed with weights: for strategies that draw single cells.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from hwnas.core.arch import Arch, Choice
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.operators.recurrent import FUNCTIONS
from hwnas.operators.tree import COMBINED, TreeLeaf, combined
from hwnas.spaces import Conditional, Gates, Space, Window
from hwnas.spaces._recurrent import Reader, RecurrentSettings, RecurrentSpace
from hwnas.spaces.lstm import lstms_like


class RnnTreeSettings(RecurrentSettings):
    leaves: int = Field(default=8, ge=2)
    """A power of two: the paper's "base"."""

    @field_validator("leaves")
    @classmethod
    def _whole_tree(cls, leaves: int) -> int:
        if leaves & (leaves - 1):
            raise ValueError("leaves must be a power of two")
        return leaves


@dataclass(frozen=True)
class Plan:
    """A cell. `nodes`: how each combines, and its function; leaves first, the root last. `inject`: the same of the old
    memory, combined with what node `inject_at` gives. `memory_from`: the node whose combination is the new memory.
    """

    nodes: tuple[tuple[str, str], ...]
    inject: tuple[str, str]
    inject_at: int
    memory_from: int


class RnnTree(RecurrentSpace):
    """Choices: of each node and then of the injection how to combine and by which function; then the two places."""

    Settings = RnnTreeSettings
    settings: RnnTreeSettings
    mixable = False

    def __init__(self, settings: RnnTreeSettings, channels: int, classes: int) -> None:
        super().__init__(settings, channels, classes)
        self.nodes = 2 * settings.leaves - 1
        self.input_shape = (1 + 2 * settings.hidden,)
        combines, functions = tuple(COMBINED), tuple(FUNCTIONS)
        places = tuple(f"node{node}" for node in range(self.nodes))
        choices = []
        for name in (*places, "inject"):
            choices += [Choice(f"{name}_combine", combines), Choice(f"{name}_function", functions)]
        self.choices = (*choices, Choice("inject_at", places), Choice("memory_from", places))

    def plan(self, arch: Arch) -> Plan:
        options = [choice.options[option] for choice, option in zip(self.choices, arch, strict=True)]
        *nodes, inject = zip(options[:-2:2], options[1:-2:2], strict=True)
        return Plan(tuple(nodes), inject, *arch[-2:])

    def operators(self) -> tuple[Conditional, ...]:
        return self._conditionals

    @cached_property
    def _conditionals(self) -> tuple[Conditional, ...]:
        embedding, words = self.ends(self.settings.hidden)
        found = [Conditional(embedding)]
        for place in range(self.nodes + 1):  # the last is the injection
            kind = self._leaf if place < self.settings.leaves else self._node
            for i, combine in enumerate(COMBINED):
                for j, act in enumerate(FUNCTIONS):
                    found.append(Conditional(kind(combine, act), ((2 * place, i), (2 * place + 1, j))))
        return (*found, Conditional(words))

    def _leaf(self, combine: str, act: str) -> OpSpec:
        hidden = self.settings.hidden
        return OpSpec.of("tree_leaf", (2 * hidden,), hidden=hidden, combine=combine, act=act)

    def _node(self, combine: str, act: str) -> OpSpec:
        return OpSpec.of("tree_node", (2 * self.settings.hidden,), combine=combine, act=act)

    def _cell(self, plan: Plan) -> "TreeCell":
        leaves = [build(self._leaf(*how)) for how in plan.nodes[: self.settings.leaves]]
        return TreeCell(leaves, plan, self.settings.hidden)

    def build(self, arch: Arch) -> nn.Module:
        hidden = self.settings.hidden
        return Reader(self.ends(hidden), self._cell(self.plan(self.check(arch))), 2 * hidden, self.settings)

    def supernet(self) -> nn.Module:
        return Supernet(self)

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        """All of it: cells differ in what has no weights."""
        return supernet.state_dict(keep_vars=True)

    def reference(self) -> Arch:
        """Ours: leaves in pairs of a tanh gated by a sigmoid, as in an LSTM, whose sum is the memory."""
        leaves = self.settings.leaves
        gated = [("add", "sigmoid" if leaf % 2 else "tanh") for leaf in range(leaves)]
        above = [("multiply", "identity")] * (leaves // 2) + [("add", "tanh")] * (leaves // 2 - 1)
        options: list[int] = []
        for combine, act in (*gated, *above, ("add", "tanh")):
            options += [list(COMBINED).index(combine), list(FUNCTIONS).index(act)]
        return self.check((*options, self.nodes - 1, self.nodes - 1))

    def baseline(self) -> Space:
        """LSTMs, by their width."""
        return lstms_like(self.settings, self.classes)


class TreeCell(nn.Module):
    def __init__(self, leaves: list[nn.Module], plan: Plan, hidden: int) -> None:
        super().__init__()
        self.leaves, self.plan, self.hidden = nn.ModuleList(leaves), plan, hidden

    def step(self, word: Tensor, state: Tensor, keep: Tensor | None) -> Tensor:
        return self.run(self.plan, word, state, keep)

    def run(self, plan: Plan, word: Tensor, state: Tensor, keep: Tensor | None) -> Tensor:
        """`state`: [output, memory]."""
        output, memory = state[:, : self.hidden], state[:, self.hidden :]
        given: list[Tensor] = []
        before: list[Tensor] = []
        for node, (combine, act) in enumerate(plan.nodes):
            two = self._inputs(node, given, word, output, keep)
            before.append(combined(combine, *two))
            given.append(FUNCTIONS[act](before[-1]))
            if node == plan.inject_at:
                combine, act = plan.inject
                given[-1] = FUNCTIONS[act](combined(combine, given[-1], memory))
        return torch.cat((given[-1], before[plan.memory_from]), 1)

    def _inputs(
        self, node: int, given: list[Tensor], word: Tensor, output: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        above = node - len(self.leaves)
        if above >= 0:
            return given[2 * above], given[2 * above + 1]
        leaf = self.leaves[node]
        assert isinstance(leaf, TreeLeaf)
        return leaf.both(word, output, keep)


class Supernet(Reader):
    """The leaves' matrices, shared by all cells."""

    def __init__(self, space: RnnTree) -> None:
        hidden = space.settings.hidden
        super().__init__(space.ends(hidden), space._cell(space.plan(space.reference())), 2 * hidden, space.settings)
        self.plan_of = space.plan

    def forward(self, x: Tensor | Window, gates: Gates) -> Tensor:  # type: ignore[override]
        assert isinstance(self.cell, TreeCell)
        arch = tuple(option for choice in range(len(gates)) for option in gates[choice])
        return self.read(x, partial(self.cell.run, self.plan_of(arch)))
