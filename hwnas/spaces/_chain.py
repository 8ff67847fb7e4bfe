"""Spaces whose networks are a chain of slots, each holding one operator chosen from a few."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from hwnas.core.arch import Arch
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.operators.shared import SharedMBConv, shared_options
from hwnas.spaces import Conditional, Gates, Space


@dataclass(frozen=True)
class Slot:
    """One place in the chain. `choice` None: always `options[0]`. An option None is the identity (Zero beside a
    shortcut): it costs nothing and is not an operator. `shared`: in a supernet, the options share convolution weights.
    """

    name: str
    options: tuple[OpSpec | None, ...]
    choice: int | None = None
    shared: bool = False

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
            Conditional(spec, () if slot.choice is None else ((slot.choice, option),))
            for slot in self.slots
            for option, spec in enumerate(slot.options)
            if spec is not None
        )

    def operators(self) -> tuple[Conditional, ...]:
        return self._conditionals

    def build(self, arch: Arch) -> nn.Module:
        self.check(arch)
        chosen = ((slot.name, slot.options[_option(slot, arch)]) for slot in self.slots)
        return nn.Sequential(OrderedDict((name, build(spec)) for name, spec in chosen if spec is not None))

    def supernet(self) -> nn.Module:
        return ChainSupernet(self.slots)

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        assert isinstance(supernet, ChainSupernet)
        state: dict[str, Tensor] = {}
        for slot, options in zip(self.slots, supernet.slots, strict=True):
            module = options[_option(slot, arch)]  # type: ignore[index]
            own = module.state() if isinstance(module, SharedMBConv) else module.state_dict(keep_vars=True)
            state |= {f"{slot.name}.{key}": value for key, value in own.items()}
        return state


def _option(slot: Slot, arch: Arch) -> int:
    return 0 if slot.choice is None else arch[slot.choice]


class ChainSupernet(nn.Module):
    """`forward(x, gates)`: which paths run is an argument, never state."""

    def __init__(self, slots: tuple[Slot, ...]) -> None:
        super().__init__()
        self.choices = [slot.choice for slot in slots]
        self.slots = nn.ModuleList(slot.modules() for slot in slots)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        for choice, options in zip(self.choices, self.slots, strict=True):
            assert isinstance(options, nn.ModuleList)
            x = options[0](x) if choice is None else mix(options, x, gates[choice])
        return x


def mix(options: nn.ModuleList, x: Tensor, paths: Mapping[int, Tensor | None]) -> Tensor:
    """Σ gate · option(x) over the paths given.

    A path whose gate is exactly 0 adds nothing to the output, so no gradient reaches its weights or x: it is run
    without a graph, and only the gate's own gradient ⟨∂L/∂y, option(x)⟩ is kept (ProxylessNAS's inactive path). A gate
    on another device than the CPU is not looked at: that would wait for the device.
    """
    total = None
    for option, gate in paths.items():
        if gate is None:
            assert len(paths) == 1, "a path without a gate runs alone"
            return options[option](x)
        if gate.is_cpu and gate.item() == 0:
            with torch.no_grad():
                out = options[option](x)
        else:
            out = options[option](x)
        total = gate * out if total is None else total + gate * out
    assert total is not None, "no path given for a choice"
    return total
