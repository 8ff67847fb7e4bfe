"""SPOS's space (Guo et al. 2020, arXiv:1904.00420, table 1): 20 blocks × 4: ShuffleNetV2's unit with kernel 3, 5 or 7,
or three separable convolutions ("xception").

`form` paper is that network at 224 pixels; the default is smaller. `scales` is its channel search: middle widths (the
paper: 0.2, 0.4, …, 1.6) relative to half a block's output, rounded to `divisor`. Option and scale are one choice here,
two in the paper; the same networks, and with shared weights the same slices. The default searches both, because a
kernel of 3 at scale 1 is nearly the fastest option: without scales a search can only make ShuffleNetV2 slower. Even so
its time cannot be cut far (on one CPU to three quarters: half of the channels pass by in any case), so give a --budget.
"""

from itertools import pairwise
from typing import Any, ClassVar

from pydantic import Field, model_validator

from hwnas.operators import output_shape
from hwnas.operators.mbconv import round_channels
from hwnas.operators.opspec import OpSpec
from hwnas.spaces._chain import Slot
from hwnas.spaces._staged import Place, StagedSettings, StagedSpace


class ShuffleSettings(StagedSettings):
    FORMS: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {},
        "paper": {
            "resolution": 224,
            "widths": (64, 160, 320, 640),
            "depths": (4, 4, 8, 4),
            "strides": (2, 2, 2, 2),
            "head_width": 1024,
            "scales": (1.0,),
            "divisor": 1,
            "weights": "separate",
        },
    }

    widths: tuple[int, ...] = (48, 96, 192)
    depths: tuple[int, ...] = (2, 4, 2)
    strides: tuple[int, ...] = (1, 2, 2)
    kernels: tuple[int, ...] = (3, 5, 7)
    scales: tuple[float, ...] = (0.5, 1.0, 1.5)
    divisor: int = Field(default=8, ge=1)
    """Vector kernels want it: on a CPU a block with 19 channels inside took twice as long as one with 32."""

    @model_validator(mode="after")
    def _halves(self) -> "ShuffleSettings":
        path = (self.stem_width, *self.widths)
        if any(width % 2 for width in path) or any(b < a for a, b in pairwise(path)):
            raise ValueError("stem_width and widths must be even and must not shrink: a unit adds to its input's")
        if any(a == b and stride > 1 for a, b, stride in zip(path, self.widths, self.strides, strict=False)):
            raise ValueError("a stage with a stride must be wider than the one before it")
        if min(self.kernels) < 1 or min(self.scales) <= 0:
            raise ValueError("kernels and scales must be positive")
        return self


class Shuffle(StagedSpace):
    Settings = ShuffleSettings
    settings: ShuffleSettings

    @property
    def usual(self) -> str:
        """ShuffleNetV2's unit, at the scale nearest 1."""
        nearest = min(self.settings.scales, key=lambda scale: abs(scale - 1))
        return f"shuffle{min(self.settings.kernels)}{self._suffix(nearest)}"

    def stem(self) -> list[Slot]:
        s = self.settings
        stem = OpSpec.of("conv", self.input_shape, out=s.stem_width, kernel=3, stride=s.stem_stride, act="relu")
        return [Slot("stem", (stem,))]

    def candidates(self, place: Place) -> dict[str, OpSpec | None]:
        found: dict[str, OpSpec | None] = {}
        s = self.settings
        for scale in s.scales:
            facts = {"out": place.out, "stride": place.stride, "mid": round_channels(scale * place.out / 2, s.divisor)}
            for kernel in s.kernels:
                name = f"shuffle{kernel}{self._suffix(scale)}"
                found[name] = OpSpec.of("shuffle_block", place.shape, kernel=kernel, **facts)
            found[f"xception{self._suffix(scale)}"] = OpSpec.of("shuffle_xception", place.shape, **facts)
        return found

    def _suffix(self, scale: float) -> str:
        return f"_x{scale:g}" if len(self.settings.scales) > 1 else ""

    def head(self, shape: tuple[int, ...]) -> list[Slot]:
        feature = OpSpec.of("conv", shape, out=self.settings.head_width, kernel=1, stride=1, act="relu")
        classifier = OpSpec.of("classifier", output_shape(feature), classes=self.classes)
        return [Slot("feature", (feature,)), Slot("classifier", (classifier,))]
