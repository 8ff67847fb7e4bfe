"""From pixels to what a network takes, as a bundle says it."""

import json
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.deploy.samples import SAMPLES, Samples
from hwnas.training.data import Data, ImageSplit
from hwnas.training.datasets import Images

_MOST_DRIFT = 1e-3
"""Of an input, which is about one standard deviation wide; the manifest's six decimals cost a hundredth of it."""


class Preprocessing(Settings):
    """From pixels, uint8 [n, channels, height, width], to what the network takes: scaled to 0–1, minus `mean`, over
    `std` (each one a channel), then resized (bilinear) to `resolution` × `resolution`."""

    count: ClassVar[int] = SAMPLES
    """Samples in a bundle."""
    parts: ClassVar[tuple[str, ...]] = ("pixels", "inputs")
    """Of a sample, beside its logits."""
    samples_are: ClassVar[str] = "test images"

    mean: tuple[float, ...] = Field(min_length=1)
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    resolution: int = Field(ge=1, le=1 << 14)

    @classmethod
    def of(cls, data: Data, resolution: int) -> "Preprocessing":
        mean, std = (tuple(round(v, 6) for v in t.tolist()) for t in (data.mean, data.std))
        return cls(mean=mean, std=std, resolution=resolution)

    def metadata(self, class_names: Sequence[str]) -> dict[str, str]:
        """As it is written into an ONNX file."""
        return {
            "class_names": json.dumps(list(class_names), ensure_ascii=False),
            "mean": ",".join(f"{v:.6f}" for v in self.mean),
            "std": ",".join(f"{v:.6f}" for v in self.std),
            "input_size": f"{len(self.mean)},{self.resolution},{self.resolution}",
        }

    def faults(self, samples: Samples, class_names: Sequence[str]) -> list[str]:
        """Where the samples are not what this says."""
        if samples.pixels is None:
            return ["the samples are no images"]
        channels = samples.pixels.shape[1]
        if not len(self.mean) == len(self.std) == channels:
            return [f"mean and std are not of {channels} channels"]
        made = self.inputs(samples.pixels)
        same = made.shape == samples.inputs.shape
        drift = float((made - samples.inputs).abs().max()) if same else float("inf")
        return [f"the samples' pixels do not become their inputs (off by {drift:.2g})"] if drift > _MOST_DRIFT else []

    def rows(self) -> dict[str, str]:
        """Of the model card."""
        return {
            "input": f"float32 [batch, {self._size}]",
            "preprocessing": f"pixels scaled to 0–1, minus mean {list(self.mean)}, over std {list(self.std)}, per "
            f"channel; another size is resized (bilinear) to {self.resolution} × {self.resolution}",
        }

    def output(self, classes: int) -> str:
        return f"logits [batch, {classes}]"

    def prepare(self) -> str:
        """Python: `x`, as every format takes it."""
        return f"""\
import numpy as np
mean, std = np.array({list(self.mean)}, np.float32), np.array({list(self.std)}, np.float32)
images = np.random.randint(0, 256, (1, {self._size}), np.uint8)  # yours here
x = (images.astype(np.float32) / 255 - mean[:, None, None]) / std[:, None, None]"""

    def conclude(self, classes: int) -> str:
        """Python: what `logits` mean."""
        return "print(logits.argmax(1))"

    @property
    def _size(self) -> str:
        return f"{len(self.mean)}, {self.resolution}, {self.resolution}"

    def split(self, images: Images) -> ImageSplit:
        return ImageSplit(images, torch.tensor(self.mean), torch.tensor(self.std), self.resolution, flip=False)

    def inputs(self, pixels: Tensor) -> Tensor:
        """float32 [n, channels, resolution, resolution]."""
        images = Images(pixels.numpy(), np.zeros(len(pixels), np.int64))
        return self.split(images).inputs(pixels).contiguous()
