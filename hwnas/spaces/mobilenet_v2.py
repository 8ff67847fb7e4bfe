"""MobileNetV2 (arXiv:1801.04381, table 2) as a space of one choice: its width multiplier.

It is the hand-made family that a search has to beat: narrowed until it meets the budget.
"""

from functools import cached_property
from math import prod

from pydantic import Field

from hwnas.core.arch import Arch, Choice
from hwnas.core.config import Settings
from hwnas.operators import output_shape
from hwnas.operators.mbconv import round_channels
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space
from hwnas.spaces._chain import ChainSpace, Slot

EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)
WIDTHS = (16, 24, 32, 64, 96, 160, 320)
DEPTHS = (1, 2, 3, 4, 3, 3, 1)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
STEM_WIDTH, HEAD_WIDTH = 32, 1280


class MobilenetV2Settings(Settings):
    """`total_stride`: how much smaller the last feature map is; the earliest strides are dropped to reach it."""

    resolution: int = Field(default=32, ge=8)
    stem_stride: int = Field(default=2, ge=1, le=2)
    total_stride: int = Field(default=16, ge=1)
    multipliers: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 29))
    divisor: int = Field(
        default=4, ge=1
    )  # finer than the paper's 8: the baseline may come as near to the budget as it can


class MobilenetV2(ChainSpace):
    """Choice 0 is the width multiplier, narrowest first. The head narrows too, which at few classes only helps it."""

    Settings = MobilenetV2Settings
    mixable = False

    def __init__(self, settings: MobilenetV2Settings, channels: int, classes: int) -> None:
        self.settings = settings
        self.classes = classes
        self.input_shape = (channels, settings.resolution, settings.resolution)
        self.choices = (Choice("width", tuple(f"{m:g}" for m in settings.multipliers)),)

    @classmethod
    def beside(
        cls, resolution: int, channels: int, classes: int, stem_stride: int, strides: tuple[int, ...]
    ) -> "MobilenetV2":
        """The family for inputs of this resolution, reduced as much as a network with these strides reduces them."""
        total = stem_stride * prod(strides)
        return cls(
            MobilenetV2Settings(resolution=resolution, stem_stride=stem_stride, total_stride=total), channels, classes
        )

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        networks = [self._network(multiplier) for multiplier in self.settings.multipliers]
        return tuple(
            Slot(name, tuple(network[i][1] for network in networks), choice=0)
            for i, (name, _) in enumerate(networks[0])
        )

    def _network(self, multiplier: float) -> list[tuple[str, OpSpec]]:
        def width(channels: int) -> int:
            return round_channels(channels * multiplier, self.settings.divisor)

        ops = [
            (
                "stem",
                OpSpec.of(
                    "conv",
                    self.input_shape,
                    out=width(STEM_WIDTH),
                    kernel=3,
                    stride=self.settings.stem_stride,
                    act="relu6",
                ),
            )
        ]
        for stage, (expand, channels, depth, stride) in enumerate(
            zip(EXPANSIONS, WIDTHS, DEPTHS, self._strides(), strict=True)
        ):
            for block in range(1, depth + 1):
                shape, step = output_shape(ops[-1][1]), stride if block == 1 else 1
                spec = OpSpec.of(
                    "mbconv",
                    shape,
                    out=width(channels),
                    kernel=3,
                    stride=step,
                    expand=expand,
                    act="relu6",
                    se=False,
                )
                ops.append((f"stage{stage}_block{block}", spec))
        head = OpSpec.of("conv", output_shape(ops[-1][1]), out=width(HEAD_WIDTH), kernel=1, stride=1, act="relu6")
        classifier = OpSpec.of("classifier", output_shape(head), classes=self.classes)
        return [*ops, ("feature", head), ("classifier", classifier)]

    def _strides(self) -> tuple[int, ...]:
        strides = list(STRIDES)
        for i, stride in enumerate(strides):
            if self.settings.stem_stride * prod(strides) > self.settings.total_stride and stride == 2:
                strides[i] = 1
        return tuple(strides)

    def reference(self) -> Arch:
        """Width 1."""
        return (self.choices[0].options.index("1"),)

    def baseline(self) -> Space:
        return self
