"""Chains of stages: a stem, stages of blocks that share a width, a feature layer, a classifier.

The first block of a stage carries its stride. A block is one choice; so is a stage's depth where it is elastic.
"""

from abc import abstractmethod
from functools import cached_property
from itertools import count
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from hwnas.core.arch import Arch, Choice
from hwnas.operators import output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space, fewer_channels, same_choices
from hwnas.spaces._chain import ChainSpace, Slot
from hwnas.spaces._forms import FormedSettings
from hwnas.spaces.mobilenet_v2 import MobilenetV2


class StagedSettings(FormedSettings):
    """The skeleton. Lists have one entry a stage."""

    resolution: int = Field(default=32, ge=8)
    stem_width: int = Field(default=16, ge=2)
    stem_stride: int = Field(default=2, ge=1, le=2)
    widths: tuple[int, ...] = (16, 24, 40, 64)
    depths: tuple[int, ...] = (1, 2, 3, 2)
    strides: tuple[int, ...] = (1, 2, 2, 1)
    head_width: int = Field(default=192, ge=1)
    weights: Literal["shared", "separate"] = "shared"
    """Of a block's options in the supernet. Separate is most papers', and wants their epochs of ImageNet."""

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> "StagedSettings":
        if not len(self.widths) == len(self.depths) == len(self.strides) > 0:
            raise ValueError("widths, depths and strides need the same number of stages")
        if min(self.widths + self.depths + self.strides) < 1:
            raise ValueError("widths, depths and strides must be positive")
        return self


class Place(NamedTuple):
    """Where a block stands. `stage` and `layer`, over all stages, count from 1."""

    stage: int
    layer: int
    shape: tuple[int, ...]
    out: int
    stride: int


class StagedSpace(ChainSpace):
    """A subclass says what stands before the stages, in a place, and behind them."""

    settings: StagedSettings

    def __init__(self, settings: StagedSettings, channels: int, classes: int) -> None:
        self.settings, self.classes = settings, classes
        self.input_shape = (channels, settings.resolution, settings.resolution)
        self.choices = self._laid_out[1]

    @abstractmethod
    def stem(self) -> list[Slot]: ...

    @abstractmethod
    def candidates(self, place: Place) -> dict[str, OpSpec | None]:
        """Name → operator, as in a slot. The first one is no identity."""

    @abstractmethod
    def head(self, shape: tuple[int, ...]) -> list[Slot]: ...

    @property
    @abstractmethod
    def usual(self) -> str:
        """The candidate that MobileNetV2 has everywhere."""

    def shallowest(self, depth: int) -> int:
        """Blocks that a stage of this depth may be shortened to."""
        return depth

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        return self._laid_out[0]

    @cached_property
    def _laid_out(self) -> tuple[tuple[Slot, ...], tuple[Choice, ...]]:
        s, slots = self.settings, self.stem()
        choices: list[Choice] = []
        layers, shape = count(1), _after(slots[-1])
        for stage, (width, depth, stride) in enumerate(zip(s.widths, s.depths, s.strides, strict=True), start=1):
            least, elastic = self.shallowest(depth), len(choices)
            if least < depth:
                choices.append(Choice(f"stage{stage}_depth", tuple(map(str, range(least, depth + 1))), "depth"))
            for block in range(1, depth + 1):
                options = self.candidates(Place(stage, next(layers), shape, width, stride if block == 1 else 1))
                name, there = f"stage{stage}_block{block}", (elastic, block - least) if block > least else None
                slots.append(Slot(name, tuple(options.values()), len(choices), s.weights == "shared", there))
                choices.append(Choice(name, tuple(options)))
                shape = _after(slots[-1])
        return (*slots, *self.head(shape)), tuple(choices)

    def reference(self) -> Arch:
        """MobileNetV2's choice in this skeleton, every stage at its full depth."""
        return tuple(
            choice.options.index(self.usual) if self.usual in choice.options else len(choice.options) - 1
            for choice in self.choices
        )

    def narrowed(self, share: float) -> Space:
        s = self.settings
        fewer = {name: fewer_channels(getattr(s, name), share) for name in ("stem_width", "head_width")}
        widths = tuple(fewer_channels(width, share) for width in s.widths)
        small = s.model_copy(update=fewer | {"widths": widths})
        return same_choices(type(self)(small, self.input_shape[0], self.classes), self)

    def baseline(self) -> Space:
        """Real MobileNetV2 at this resolution, by width multiplier."""
        channels, resolution, _ = self.input_shape
        return MobilenetV2.beside(resolution, channels, self.classes, self.settings.stem_stride, self.settings.strides)


def _after(slot: Slot) -> tuple[int, ...]:
    assert slot.options[0] is not None
    return output_shape(slot.options[0])
