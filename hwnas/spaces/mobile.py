"""ProxylessNAS's mobile space (arXiv:1812.00332, section 4.2): MBConv {3,5,7} × {3,6}, and Zero beside a shortcut.

The defaults are a small 32-pixel network; `mobile-224` is the paper's. The first block of a stage carries its stride.
"""

from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from hwnas.core.arch import Arch, Choice
from hwnas.core.config import Settings
from hwnas.operators import output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space, fewer_channels, same_choices
from hwnas.spaces._chain import ChainSpace, Slot
from hwnas.spaces.mobilenet_v2 import MobilenetV2


class MobileSettings(Settings):
    """The skeleton. Lists have one entry a stage."""

    resolution: int = Field(default=32, ge=8)
    stem_width: int = Field(default=16, ge=1)
    stem_stride: int = Field(default=2, ge=1, le=2)
    first_width: int = Field(default=8, ge=1)
    widths: tuple[int, ...] = (16, 24, 40, 48, 96)
    depths: tuple[int, ...] = (2, 3, 3, 2, 2)
    strides: tuple[int, ...] = (1, 2, 2, 1, 2)
    head_width: int = Field(default=192, ge=1)
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (3, 6)
    squeeze_excite: bool = False
    activation: str = "relu6"
    weights: Literal["shared", "separate"] = "shared"
    """Of a block's options in the supernet. Separate is the paper's, and wants the paper's 160 epochs of ImageNet."""

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> "MobileSettings":
        if not len(self.widths) == len(self.depths) == len(self.strides) > 0:
            raise ValueError("widths, depths and strides need the same number of stages")
        if self.weights == "shared" and min(self.expansions) < 2:
            raise ValueError("blocks of expansion 1 have no expand convolution to share: set weights to separate")
        if min(self.widths + self.depths + self.strides + self.kernels + self.expansions) < 1:
            raise ValueError("widths, depths, strides, kernels and expansions must be positive")
        return self


class Mobile(ChainSpace):
    """One choice a block. `stem` and `head` replace the ends by operators of your own (docs/my-space.md)."""

    Settings = MobileSettings

    def __init__(
        self,
        settings: MobileSettings,
        channels: int,
        classes: int,
        stem: OpSpec | None = None,
        head: OpSpec | None = None,
    ) -> None:
        self.settings = settings
        self.classes = classes
        self.input_shape = (channels, settings.resolution, settings.resolution)
        self._stem, self._head = stem, head
        self.choices = tuple(
            Choice(slot.name, tuple(self._label(spec) for spec in slot.options))
            for slot in self.slots
            if slot.choice is not None
        )

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        s = self.settings
        act = s.activation
        stem = self._stem or OpSpec.of(
            "conv", self.input_shape, out=s.stem_width, kernel=3, stride=s.stem_stride, act=act
        )
        first = OpSpec.of(
            "mbconv", output_shape(stem), out=s.first_width, kernel=3, stride=1, expand=1, act=act, se=False
        )
        slots = [Slot("stem", (stem,)), Slot("first", (first,))]
        shape, choice = output_shape(first), 0
        for stage, (width, depth, stride) in enumerate(zip(s.widths, s.depths, s.strides, strict=True), start=1):
            for block in range(1, depth + 1):
                options = self._candidates(shape, width, stride if block == 1 else 1)
                slots.append(Slot(f"stage{stage}_block{block}", options, choice, shared=s.weights == "shared"))
                assert options[0] is not None
                shape, choice = output_shape(options[0]), choice + 1
        feature = OpSpec.of("conv", shape, out=s.head_width, kernel=1, stride=1, act=act)
        slots.append(Slot("feature", (feature,)))
        head = self._head or OpSpec.of("classifier", output_shape(feature), classes=self.classes)
        return (*slots, Slot("classifier", (head,)))

    def _candidates(self, shape: tuple[int, ...], width: int, stride: int) -> tuple[OpSpec | None, ...]:
        s = self.settings
        blocks = [
            OpSpec.of(
                "mbconv", shape, out=width, kernel=k, stride=stride, expand=e, act=s.activation, se=s.squeeze_excite
            )
            for k in s.kernels
            for e in s.expansions
        ]
        has_shortcut = stride == 1 and shape[0] == width
        return (*blocks, None) if has_shortcut else tuple(blocks)

    def _label(self, spec: OpSpec | None) -> str:
        return "zero" if spec is None else "mbconv{kernel}_{expand}".format(**spec.attributes())

    def reference(self) -> Arch:
        """MobileNetV2's choice in this skeleton: the smallest kernel and the largest expansion in every block."""
        label = f"mbconv{min(self.settings.kernels)}_{max(self.settings.expansions)}"
        return tuple(choice.options.index(label) for choice in self.choices)

    def narrowed(self, share: float) -> Space:
        s = self.settings
        if self._stem or self._head:
            return super().narrowed(share)  # an operator of your own has channels of its own
        fewer = {name: fewer_channels(getattr(s, name), share) for name in ("stem_width", "first_width", "head_width")}
        widths = tuple(fewer_channels(width, share) for width in s.widths)
        small = s.model_copy(update=fewer | {"widths": widths})
        return same_choices(type(self)(small, self.input_shape[0], self.classes), self)

    def baseline(self) -> Space:
        """Real MobileNetV2 at this resolution, by width multiplier."""
        channels, resolution, _ = self.input_shape
        return MobilenetV2.beside(resolution, channels, self.classes, self.settings.stem_stride, self.settings.strides)
