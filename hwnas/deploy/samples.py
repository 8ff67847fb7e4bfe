"""Test images or words in a bundle with the trained network's logits, so that parity can be checked anywhere; of images
from pixels on."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.core.files import read_regular

SAMPLES = 64
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class Samples:
    """`pixels`: uint8 [n, c, h, w], as the data set has them; `inputs`: float32 [n, c, r, r], made of them; `logits`:
    [n, classes]. `corner_inputs`: all zeros, all ones, and ten times too large, with their `corner_logits`.

    Of text no pixels; `inputs`: [n, 1 + state], of words that follow one another; `logits`: [n, words + state].
    """

    pixels: Tensor | None
    inputs: Tensor
    logits: Tensor
    corner_inputs: Tensor
    corner_logits: Tensor

    @classmethod
    def of(cls, network: nn.Module, pixels: Tensor | None, inputs: Tensor) -> "Samples":
        """Logits are the network's, in fp32 on the CPU."""
        corners = corner_cases(inputs)[len(inputs) :]
        return cls(pixels, inputs, logits_of(network, inputs), corners, logits_of(network, corners))

    def to_bytes(self) -> bytes:
        there = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in there.items() if tensor is not None}
        return safetensors.torch.save({name: tensor.clone() for name, tensor in plain.items()})

    @property
    def with_corners(self) -> tuple[Tensor, Tensor]:
        """Inputs and logits of all."""
        return torch.cat([self.inputs, self.corner_inputs]), torch.cat([self.logits, self.corner_logits])


def read_samples(path: Path) -> Samples:
    """safetensors checks its header against the file's size, so nothing larger than the file is allocated. Raises
    BadInput."""
    again = "export the network again"
    try:
        found: dict[str, Any] = safetensors.torch.load(read_regular(path, _MOST_BYTES))
        pixels = found.get("pixels")
        samples = Samples(pixels, *(found[field.name] for field in fields(Samples) if field.name != "pixels"))
    except (safetensors.SafetensorError, KeyError) as error:
        raise BadInput(f"{path} holds no samples: {error}", again) from error
    for inputs, logits in ((samples.inputs, samples.logits), (samples.corner_inputs, samples.corner_logits)):
        sound = all(t.dtype == torch.float32 and bool(t.isfinite().all()) for t in (inputs, logits))
        shaped = _with_state(inputs, logits) if pixels is None else inputs.dim() == 4
        if not sound or not shaped or logits.dim() != 2 or not 0 < len(inputs) == len(logits):
            what = "float32 inputs [n, c, h, w] and logits [n, classes], or [n, 1 + state] and [n, words + state]"
            raise BadInput(f"{path} holds no samples: it needs {what}", again)
    if pixels is not None and (pixels.dtype != torch.uint8 or pixels.shape[:2] != samples.inputs.shape[:2]):
        raise BadInput(f"{path} holds no samples: it needs their pixels, uint8 [n, c, h, w]", again)
    return samples


def _with_state(inputs: Tensor, logits: Tensor) -> bool:
    return inputs.dim() == logits.dim() == 2 and 1 < inputs.shape[1] <= logits.shape[1]


def corner_cases(samples: Tensor) -> Tensor:
    """Real samples with all-zero, all-one and ten times too large inputs behind them."""
    first = samples[:1]
    return torch.cat([samples, torch.zeros_like(first), torch.ones_like(first), 10 * first])


@torch.no_grad()
def logits_of(network: nn.Module, samples: Tensor) -> Tensor:
    """fp32 on the CPU."""
    return network.cpu().eval()(samples)
