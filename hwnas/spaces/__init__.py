"""A space: the choices, what each architecture costs a device, and the networks themselves.

One file a space. `_chain.py` serves every space whose networks are a chain of slots.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.core.arch import Arch, ArchSpace
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.operators import cost
from hwnas.operators.opspec import OpSpec

Gates = Mapping[int, Mapping[int, Tensor | None]]
"""Choice index → {option to run: its weight, or None for a plain single path}. Options left out do not run."""

_NOT_NARROW = "judge by another estimator: early-stop, subset"


@dataclass(frozen=True)
class Conditional:
    """An operator and the (choice, option) pairs that switch it on; none for one that is always there."""

    spec: OpSpec
    when: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Window:
    """`words`: int64 [rows, span], one of the windows, numbered from 0, of a text that is read in rows.

    It begins in the state in which the window before it ended (truncated back-propagation through time). `states`:
    those that windows begin in, by number, shared by all windows of a reading; so one that is read again begins in the
    same state. `noise`: seeds its dropout.
    """

    words: Tensor
    number: int = 0
    noise: int = 0
    states: dict[int, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Window":
        return replace(self, words=self.words.to(device))

    def start(self, zeros: Tensor) -> Tensor:
        return self.states.get(self.number, zeros)

    def end(self, state: Tensor) -> None:
        self.states[self.number + 1] = state.detach()
        self.states.pop(self.number - 1, None)


class Space(ArchSpace, ABC):
    """What a profiler, a strategy and an exporter need to know of a search space."""

    Settings: ClassVar[type[Settings]]
    input_shape: tuple[int, ...]
    reads_text: ClassVar[bool] = False
    """Whether its networks read words instead of images (`_recurrent.py`)."""
    mixable: bool = True
    """Whether options can be summed with weights; False where only single paths make sense."""
    is_chain: bool = True
    """Whether operators run one after another on each other's output: a network then holds as much memory as its
    hungriest operator."""

    @abstractmethod
    def __init__(self, settings: Any, channels: int, classes: int) -> None:
        """`channels`: of the images, 0 for text."""

    @abstractmethod
    def operators(self) -> tuple[Conditional, ...]:
        """Every operator that any network of the space can hold. An architecture's latency is a sum over these."""

    @abstractmethod
    def build(self, arch: Arch) -> nn.Module:
        """A plain network: [batch, *shape_of(arch)] → [batch, classes]; of text, → [batch, words + state], and windows
        of [rows, span] → [rows · span, words]."""

    @abstractmethod
    def supernet(self) -> nn.Module:
        """All options with weights of their own; `supernet(x, gates)`."""

    @abstractmethod
    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        """The state dict for `build(arch)` that holds the supernet's weights (shared, not copied)."""

    @abstractmethod
    def reference(self) -> Arch:
        """The hand-made network of this space."""

    @abstractmethod
    def baseline(self) -> "Space | None":
        """The hand-made family as a space of one choice, its width, narrowest first; None if there is none."""

    def conditions(self, arch: Arch) -> list[Conditional]:
        """The operators that `arch` switches on, in forward order."""
        return [c for c in self.operators() if all(arch[choice] == option for choice, option in c.when)]

    def shape_of(self, arch: Arch) -> tuple[int, ...]:
        """Of the input of `build(arch)`, without the batch."""
        return self.input_shape

    def seen(self, network: nn.Module, inputs: Any) -> Tensor:
        """[n, *shape_of(arch)]: what a device would run the network on, to read these inputs of a data set."""
        return inputs

    def ops(self, arch: Arch) -> list[OpSpec]:
        return [c.spec for c in self.conditions(arch)]

    def function(self, arch: Arch) -> Hashable:
        """Architectures of equal value compute the same function: judging one of them judges all."""
        return arch

    def features(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → [n, features]: what a predictor of accuracy sees. One-hot, unless the space knows better."""
        return one_hot(archs, [len(choice.options) for choice in self.choices])

    def narrowed(self, share: float) -> "Space":
        """The same choices in a smaller skeleton: about `share` of the channels, and of the cells if it repeats them.

        Raises BadInput where the space does not say how.
        """
        raise BadInput(f"the space {type(self).__name__} does not say how it is made smaller", _NOT_NARROW)

    def part_of(self, spec: OpSpec) -> OpSpec | None:
        """What a published table may time in its place: several operators together, which every network holds."""
        return None

    def params(self, arch: Arch) -> int:
        return sum(cost(spec)[1] for spec in self.ops(arch))

    def macs(self, arch: Arch) -> int:
        """Multiply-accumulates at batch 1."""
        return sum(cost(spec)[2] for spec in self.ops(arch))


def fewer_channels(width: int, share: float) -> int:
    """About `share` of them: a multiple of four, and at least four."""
    return max(4, 4 * round(width * share / 4))


def same_choices(narrowed: Space, whole: Space) -> Space:
    """`narrowed`. Raises BadInput when rounded widths became equal where they were not: then options came or went."""
    if narrowed.choices != whole.choices:
        raise BadInput(
            f"so few channels change the choices of {type(whole).__name__}: widths become equal", _NOT_NARROW
        )
    return narrowed


def single_path(arch: Arch) -> Gates:
    """Gates that run exactly this architecture."""
    return {choice: {option: None} for choice, option in enumerate(arch)}


def one_hot(archs: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """[n, choices] → [n, options of all choices] of 0 and 1."""
    return np.hstack([np.eye(width)[archs[:, choice]] for choice, width in enumerate(widths)])


def every_arch(space: ArchSpace) -> np.ndarray:
    """[n, choices]: all of a small space, in lexicographic order; also tuples that are not valid."""
    return np.stack(np.meshgrid(*(np.arange(len(c.options)) for c in space.choices), indexing="ij"), -1).reshape(
        -1, len(space.choices)
    )
