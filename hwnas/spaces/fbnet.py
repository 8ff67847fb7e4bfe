"""FBNet's space (Wu et al. 2019, arXiv:1812.03443, tables 1 and 2): nine blocks a layer, 22 layers, 9²² networks.

`form` paper is that network at 224 pixels, cifar100 HW-NAS-Bench's (arXiv:2103.10584) at 32: its published tables price
them (`hwnas table import`). The default is smaller. A skip is the identity, and a 1×1 convolution where the shape
changes.
"""

from typing import Any, ClassVar

from pydantic import model_validator

from hwnas.operators import fbnet, output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces._chain import Slot
from hwnas.spaces._staged import Place, StagedSettings, StagedSpace

_PAPER = {
    "widths": (16, 24, 32, 64, 112, 184, 352),
    "depths": (1, 4, 4, 4, 4, 4, 1),
    "head_width": 1504,
    "weights": "separate",
}


class FbnetSettings(StagedSettings):
    FORMS: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {},
        "cifar100": _PAPER | {"stem_stride": 1, "strides": (1, 1, 2, 2, 1, 2, 1)},
        "paper": _PAPER | {"resolution": 224, "strides": (1, 2, 2, 2, 1, 2, 1)},
    }

    @model_validator(mode="after")
    def _two_groups(self) -> "FbnetSettings":
        if any(width % 2 for width in (self.stem_width, *self.widths)):
            raise ValueError("stem_width and widths must be even: some blocks work in two groups")
        return self


class Fbnet(StagedSpace):
    Settings = FbnetSettings

    @property
    def usual(self) -> str:
        return "k3_e6"

    def stem(self) -> list[Slot]:
        s = self.settings
        stem = OpSpec.of("conv", self.input_shape, out=s.stem_width, kernel=3, stride=s.stem_stride, act="relu")
        return [Slot("stem", (stem,))]

    def candidates(self, place: Place) -> dict[str, OpSpec | None]:
        _, layer, shape, out, stride = place
        return {name: fbnet.block(name, shape, layer, out, stride) for name in fbnet.BLOCKS}

    def head(self, shape: tuple[int, ...]) -> list[Slot]:
        feature = OpSpec.of("conv", shape, out=self.settings.head_width, kernel=1, stride=1, act="relu")
        classifier = OpSpec.of("classifier", output_shape(feature), classes=self.classes)
        return [Slot("feature", (feature,)), Slot("classifier", (classifier,))]

    def part_of(self, spec: OpSpec) -> OpSpec | None:
        """Tables are of the blocks; HW-NAS-Bench's are relative to a skip, so that its base holds the skips as well."""
        return None if spec.kind == "fbnet_block" else OpSpec.of("fbnet_base", self.input_shape)
