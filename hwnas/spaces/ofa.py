"""Once-for-All's space (Cai et al. 2020, arXiv:1908.09791, section 3.1): kernel and expansion of every block, and the
depth of every stage, of a MobileNetV3 (arXiv:1905.02244): squeeze-excitation and h-swish by stage.

`form` paper is its network at 224 pixels, about 2e19 networks, which imported tables price; the default is
smaller. Elastic resolution is a setting: one search a resolution. Deviation: a smaller kernel is the
middle of the larger one, without the paper's learned transformation.
"""

from typing import Any, ClassVar

from pydantic import Field, model_validator

from hwnas.operators import output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces._chain import Slot
from hwnas.spaces._staged import Place, StagedSettings, StagedSpace


class OfaSettings(StagedSettings):
    FORMS: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {},
        "paper": {
            "resolution": 224,
            "first_width": 16,
            "widths": (24, 40, 80, 112, 160),
            "depths": (4, 4, 4, 4, 4),
            "strides": (2, 2, 2, 1, 2),
            "squeeze_excite": (False, True, False, True, True),
            "h_swish": (False, False, True, True, True),
            "feature_width": 960,
            "head_width": 1280,
        },
    }

    first_width: int = Field(default=8, ge=1)
    widths: tuple[int, ...] = (16, 24, 40)
    depths: tuple[int, ...] = (4, 4, 4)
    strides: tuple[int, ...] = (1, 2, 2)
    shallowest: int = Field(default=2, ge=1)
    """Blocks that a stage keeps at least."""
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (3, 4, 6)
    squeeze_excite: tuple[bool, ...] = (False, True, True)
    h_swish: tuple[bool, ...] = (False, False, True)
    """Else ReLU."""
    feature_width: int = Field(default=160, ge=1)

    @model_validator(mode="after")
    def _of_every_stage(self) -> "OfaSettings":
        if not len(self.squeeze_excite) == len(self.h_swish) == len(self.widths):
            raise ValueError("squeeze_excite and h_swish need one entry a stage")
        if min(self.kernels + self.expansions) < 1:
            raise ValueError("kernels and expansions must be positive")
        return self


class Ofa(StagedSpace):
    Settings = OfaSettings
    settings: OfaSettings

    @property
    def usual(self) -> str:
        return f"k{min(self.settings.kernels)}_e{max(self.settings.expansions)}"

    def shallowest(self, depth: int) -> int:
        return min(self.settings.shallowest, depth)

    def stem(self) -> list[Slot]:
        s = self.settings
        stem = OpSpec.of("conv", self.input_shape, out=s.stem_width, kernel=3, stride=s.stem_stride, act="hardswish")
        facts = {"out": s.first_width, "kernel": 3, "stride": 1, "expand": 1}
        first = OpSpec.of("mbconv", output_shape(stem), **facts, act="relu", se=False)
        return [Slot("stem", (stem,)), Slot("first", (first,))]

    def candidates(self, place: Place) -> dict[str, OpSpec | None]:
        stage, _, shape, out, stride = place
        se = self.settings.squeeze_excite[stage - 1]
        act = "hardswish" if self.settings.h_swish[stage - 1] else "relu"
        return {
            f"k{k}_e{e}": OpSpec.of("mbconv", shape, out=out, kernel=k, stride=stride, expand=e, act=act, se=se)
            for k in self.settings.kernels
            for e in self.settings.expansions
        }

    def head(self, shape: tuple[int, ...]) -> list[Slot]:
        s = self.settings
        feature = OpSpec.of("conv", shape, out=s.feature_width, kernel=1, stride=1, act="hardswish")
        pool = OpSpec.of("ofa_pool", output_shape(feature), out=s.feature_width)
        mix = OpSpec.of("ofa_mix", output_shape(pool), out=s.head_width)
        linear = OpSpec.of("ofa_linear", output_shape(mix), out=self.classes)
        named = {"feature": feature, "pool": pool, "mix": mix, "classifier": linear}
        return [Slot(name, (spec,)) for name, spec in named.items()]
