"""Spaces whose networks are a chain of slots, each holding one operator chosen from a few."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor, nn

from hwnas.core.arch import Arch
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.operators.shared import shared_options, standalone_state
from hwnas.spaces import Conditional, Gates, Space


@dataclass(frozen=True)
class Slot:
    """One place in the chain. `choice` None: always `options[0]`. An option None is the identity (Zero beside a
    shortcut): it costs nothing and is not an operator. `shared`: in a supernet, the options share convolution weights.
    `depth`: (choice, option) of an elastic depth: the slot is there from that option on. Slots of one elastic depth
    stand together, the option rising; what leaves the last one that is there is what the slot behind them reads.
    """

    name: str
    options: tuple[OpSpec | None, ...]
    choice: int | None = None
    shared: bool = False
    depth: tuple[int, int] | None = None

    def chosen(self, arch: Arch) -> OpSpec | None:
        """None for the identity, and where the slot is not there."""
        return self.options[self.option(arch)] if self.is_in(arch) else None

    def option(self, arch: Arch) -> int:
        return 0 if self.choice is None else arch[self.choice]

    def is_in(self, arch: Arch) -> bool:
        return self.depth is None or arch[self.depth[0]] >= self.depth[1]

    def modules(self) -> nn.ModuleList:
        """One module an option, for a supernet."""
        specs = [spec for spec in self.options if spec is not None]
        blocks = iter(shared_options(specs) if self.shared else [build(spec) for spec in specs])
        return nn.ModuleList(nn.Identity() if spec is None else next(blocks) for spec in self.options)


class ChainSpace(Space):
    """A space is its slots; several slots may hang on one choice."""

    @cached_property
    @abstractmethod
    def slots(self) -> tuple[Slot, ...]: ...

    @cached_property
    def _conditionals(self) -> tuple[Conditional, ...]:
        return tuple(
            Conditional(spec, (*(() if slot.choice is None else ((slot.choice, option),)), *depth))
            for slot in self.slots
            for option, spec in enumerate(slot.options)
            if spec is not None
            for depth in self._depths(slot)
        )

    def _depths(self, slot: Slot) -> list[tuple[tuple[int, int], ...]]:
        """The conditions under which it is there, one of which holds."""
        if slot.depth is None:
            return [()]
        choice, least = slot.depth
        return [((choice, option),) for option in range(least, len(self.choices[choice].options))]

    def operators(self) -> tuple[Conditional, ...]:
        return self._conditionals

    def function(self, arch: Arch) -> Hashable:
        """What would stand in a slot that is not there does not matter."""
        absent = {slot.choice for slot in self.slots if not slot.is_in(arch)}
        return tuple(0 if choice in absent else option for choice, option in enumerate(arch))

    def build(self, arch: Arch) -> nn.Module:
        self.check(arch)
        chosen = ((slot.name, slot.chosen(arch)) for slot in self.slots)
        return nn.Sequential(OrderedDict((name, build(spec)) for name, spec in chosen if spec is not None))

    def supernet(self) -> nn.Module:
        return ChainSupernet(self.slots)

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        assert isinstance(supernet, ChainSupernet)
        state: dict[str, Tensor] = {}
        for slot, options in zip(self.slots, supernet.slots, strict=True):
            if slot.chosen(arch) is not None:
                module = options[slot.option(arch)]  # type: ignore[index]
                state |= {f"{slot.name}.{key}": value for key, value in standalone_state(module).items()}
        return state


class ChainSupernet(nn.Module):
    """`forward(x, gates)`: which paths run is an argument, never state."""

    def __init__(self, slots: tuple[Slot, ...]) -> None:
        super().__init__()
        self.places = [(slot.choice, slot.depth) for slot in slots]
        self.slots = nn.ModuleList(slot.modules() for slot in slots)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        places = zip(self.places, self.slots, strict=True)
        for elastic, together in groupby(places, key=lambda place: place[0][1] and place[0][1][0]):
            if elastic is None:
                for (choice, _), options in together:
                    x = _through(options, choice, x, gates)
            else:
                x = _elastic(together, x, gates, gates[elastic])
        return x


Place = tuple[tuple[int | None, tuple[int, int] | None], nn.Module]
"""(choice, depth) of a slot, and its options."""


def _through(options: nn.Module, choice: int | None, x: Tensor, gates: Gates) -> Tensor:
    assert isinstance(options, nn.ModuleList)
    return options[0](x) if choice is None else mix(options, x, gates[choice])


def _elastic(together: Iterable[Place], x: Tensor, gates: Gates, depths: Mapping[int, Tensor | None]) -> Tensor:
    """Σ gate · what leaves the stage at that depth (TF-NAS, arXiv:2008.05314, section 3.3: sink-connecting)."""
    exits = dict.fromkeys(depths, x)
    for (choice, depth), options in together:
        assert depth is not None
        if depth[1] <= max(depths):
            x = _through(options, choice, x, gates)
            exits |= {option: x for option in depths if option >= depth[1]}
    return weigh(depths, exits.__getitem__)


def mix(options: nn.ModuleList, x: Tensor, paths: Mapping[int, Tensor | None]) -> Tensor:
    """Σ gate · option(x) over the paths given."""
    return weigh(paths, lambda option: options[option](x))


def weigh(paths: Mapping[int, Tensor | None], run: Callable[[int], Tensor]) -> Tensor:
    """Σ gate · run(option).

    A path whose gate is exactly 0 adds nothing to the output, so no gradient reaches its weights or input: it is run
    without a graph, and only the gate's own gradient ⟨∂L/∂y, run(option)⟩ is kept (ProxylessNAS's inactive path). A
    gate on another device than the CPU is not looked at: that would wait for the device.
    """
    total = None
    for option, gate in paths.items():
        if gate is None:
            assert len(paths) == 1, "a path without a gate runs alone"
            return run(option)
        if gate.is_cpu and gate.item() == 0:
            with torch.no_grad():
                out = run(option).detach()
        else:
            out = run(option)
        total = gate * out if total is None else total + gate * out
    assert total is not None, "no path given for a choice"
    return total
