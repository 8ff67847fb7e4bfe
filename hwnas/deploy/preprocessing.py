"""From pixels to what a network takes, as a bundle says it."""

import json
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.training.data import Data, Split
from hwnas.training.datasets import Images


class Preprocessing(Settings):
    """From pixels, uint8 [n, channels, height, width], to what the network takes: scaled to 0–1, minus `mean`, over
    `std` (each one a channel), then resized (bilinear) to `resolution` × `resolution`."""

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

    def split(self, images: Images) -> Split:
        return Split(images, torch.tensor(self.mean), torch.tensor(self.std), self.resolution, flip=False)

    def inputs(self, pixels: Tensor) -> Tensor:
        """float32 [n, channels, resolution, resolution]."""
        images = Images(pixels.numpy(), np.zeros(len(pixels), np.int64))
        return self.split(images).inputs(pixels).contiguous()
