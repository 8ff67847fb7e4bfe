"""Does the exported file compute what the trained network computes?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.core.errors import VerificationFailed
from hwnas.exporters import Exporter
from hwnas.exporters.onnx import Onnx
from hwnas.exporters.onnx_fp16 import OnnxFp16
from hwnas.exporters.onnx_int8 import OnnxInt8
from hwnas.runtimes import Runtime, Session

_EXPORTERS: dict[str, type[Exporter]] = {exporter.filename: exporter for exporter in (OnnxFp16, OnnxInt8)}

_SAME_STATE = 1e-4
"""Between a state computed alone and in a batch."""


@dataclass(frozen=True)
class Parity:
    """`difference`: largest |difference| of a logit; NaN when there is one anywhere, infinite when the shapes differ.
    `kept`: share of answers that are the network's, or that it rates within the exporter's tolerance of its own.
    `scale`: the largest |logit|, or 1 where that is larger.
    """

    difference: float
    kept: float
    scale: float


def exporter_of(filename: str) -> type[Exporter]:
    """Whose tolerance an ONNX file of a bundle has to keep: the strictest for a name that is none of ours."""
    return _EXPORTERS.get(filename, Onnx)


def corner_cases(samples: Tensor) -> Tensor:
    """Real samples with all-zero, all-one and ten times too large inputs behind them."""
    first = samples[:1]
    return torch.cat([samples, torch.zeros_like(first), torch.ones_like(first), 10 * first])


@torch.no_grad()
def logits_of(network: nn.Module, samples: Tensor) -> Tensor:
    """fp32 on the CPU."""
    return network.cpu().eval()(samples)


def compare(exporter: type[Exporter], runtime: Runtime, model: bytes, samples: Tensor, logits: Tensor) -> Parity:
    """Over all samples at once and one by one (batch 1 takes other kernels); words one after another as well, with the
    state that the file itself gives. `logits`: the trained network's.
    """
    inputs, expected = samples.contiguous().numpy(), logits.numpy()
    session = runtime.load(model)
    try:
        together = session.infer(inputs)
        found = [together, np.concatenate([session.infer(inputs[i : i + 1]) for i in range(len(inputs))])]
        if inputs.ndim == 2 and found[1].shape == expected.shape:
            found.append(_followed(session, inputs, expected))
    finally:
        session.close()
    scale = max(1.0, float(np.abs(expected).max()))
    if any(got.shape != expected.shape for got in found):
        return Parity(float("inf"), 0.0, scale)
    rated = [np.take_along_axis(expected, got.argmax(1)[:, None], axis=1) for got in found]
    near = expected.max(1)[:, None] - np.concatenate(rated, axis=1) <= exporter.tolerance * scale
    return Parity(float(np.abs(np.stack(found) - expected).max()), float(near.mean()), scale)


def _followed(session: Session, inputs: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """`inputs`: [n, 1 + state]. Where a word's state is what the network gave for the word before it, the file's own
    takes its place, so that its errors add up as they will when it is used.
    """
    size = inputs.shape[1] - 1
    follows = np.abs(inputs[1:, 1:] - expected[:-1, -size:]).max(1) < _SAME_STATE
    found = [session.infer(inputs[:1])]
    for step, goes_on in zip(inputs[1:], follows, strict=True):
        state = found[-1][:, -size:] if goes_on else step[None, 1:]
        found.append(session.infer(np.concatenate([step[None, :1], state], 1)))
    return np.concatenate(found)


def require_parity(parity: Parity, exporter: type[Exporter], filename: str) -> None:
    """Raises VerificationFailed."""
    if exporter.agreement is None:
        sound = parity.difference <= exporter.tolerance * parity.scale
        found = f"differs from the trained network by {parity.difference:.2g} (allowed {exporter.tolerance:.2g})"
    else:
        sound = np.isfinite(parity.difference) and parity.kept >= exporter.agreement
        found = f"keeps {100 * parity.kept:.1f} % of the trained network's answers, not {100 * exporter.agreement:g} %"
    if not sound:
        raise VerificationFailed(f"{filename} {found}", "report this network: the exporter or the runtime is wrong")
