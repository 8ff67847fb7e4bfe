"""TF-NAS's space (Hu et al. 2020, arXiv:2008.05314, section 3): kernel, expansion and squeeze-excitation of every
block, and the depth of every stage.

`form` paper is its network at 224 pixels, which its published tables price (`hwnas table import`) for expansions up to
8. The default is smaller. Deviation: middle widths are chosen from `expansions`, where the paper's scaling shrinks them
one channel at a time while it searches.
"""

from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, model_validator

from hwnas.operators import output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces._chain import Slot
from hwnas.spaces._staged import Place, StagedSettings, StagedSpace


class TfnasSettings(StagedSettings):
    FORMS: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {},
        "paper": {
            "resolution": 224,
            "stem_width": 32,
            "first_width": 16,
            "widths": (24, 40, 80, 112, 192, 320),
            "depths": (2, 3, 4, 4, 4, 1),
            "strides": (2, 2, 2, 1, 2, 1),
            "head_width": 1280,
            "weights": "separate",
        },
    }

    first_width: int = Field(default=8, ge=1)
    depths: tuple[int, ...] = (2, 2, 3, 2)
    shallowest: int = Field(default=1, ge=1)
    """Blocks that a stage keeps at least."""
    kernels: tuple[int, ...] = (3, 5)
    expansions: tuple[float, ...] = (3, 6)
    """Middle width over input width: any, also no whole number."""

    @model_validator(mode="after")
    def _wider_inside(self) -> "TfnasSettings":
        if min(self.expansions) < 1 or min(self.kernels) < 1:
            raise ValueError("expansions and kernels must be at least 1")
        return self


class Tfnas(StagedSpace):
    Settings = TfnasSettings
    settings: TfnasSettings

    @property
    def usual(self) -> str:
        return f"k{min(self.settings.kernels)}_e{max(self.settings.expansions):g}"

    def shallowest(self, depth: int) -> int:
        return min(self.settings.shallowest, depth)

    @cached_property
    def _ends(self) -> frozenset[OpSpec]:
        return frozenset(spec for slot in self.slots if slot.choice is None for spec in slot.options if spec)

    def stem(self) -> list[Slot]:
        s = self.settings
        stem = OpSpec.of("conv", self.input_shape, out=s.stem_width, kernel=3, stride=s.stem_stride, act="relu")
        first = _block(output_shape(stem), s.stem_width, s.first_width, 3, 1, "relu", max(1, s.stem_width // 4))
        return [Slot("stem", (stem,)), Slot("first", (first,))]

    def candidates(self, place: Place) -> dict[str, OpSpec | None]:
        """Squeeze-excitation is as wide as the input, twice as wide above an expansion of 4."""
        stage, _, shape, out, stride = place
        act = "relu" if stage == 1 else "swish"
        return {
            f"k{kernel}_e{expansion:g}{'_se' if se else ''}": _block(
                shape,
                round(expansion * shape[0]),
                out,
                kernel,
                stride,
                act,
                se * shape[0] * (1 if expansion <= 4 else 2),
            )
            for se in (0, 1)
            for kernel in self.settings.kernels
            for expansion in self.settings.expansions
        }

    def head(self, shape: tuple[int, ...]) -> list[Slot]:
        feature = OpSpec.of("conv", shape, out=self.settings.head_width, kernel=1, stride=1, act="swish")
        classifier = OpSpec.of("classifier", output_shape(feature), classes=self.classes)
        return [Slot("feature", (feature,)), Slot("classifier", (classifier,))]

    def part_of(self, spec: OpSpec) -> OpSpec | None:
        return OpSpec.of("tfnas_base", self.input_shape) if spec in self._ends else None


def _block(shape: tuple[int, ...], mid: int, out: int, kernel: int, stride: int, act: str, se: int) -> OpSpec:
    return OpSpec.of("tfnas_block", shape, mid=mid, out=out, kernel=kernel, stride=stride, act=act, se=se)
