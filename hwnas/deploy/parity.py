"""Does the exported file compute what the trained network computes?"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hwnas.core.errors import VerificationFailed
from hwnas.deploy.answers import Answers, answers
from hwnas.exporters import Exporter
from hwnas.formats.answers import kept, scale_of
from hwnas.runtimes import Runtime, Session


@dataclass(frozen=True)
class Parity:
    """`difference`: largest |difference| of a logit; NaN when there is one anywhere, infinite when the shapes differ.
    `kept`: share of answers that are the network's, or that it rates within the exporter's tolerance of its own.
    `scale`: the largest |logit|, or 1 where that is larger.
    """

    difference: float
    kept: float
    scale: float


def compare(exporter: type[Exporter], runtime: Runtime, model: bytes, samples: Tensor, logits: Tensor) -> Parity:
    """Of one file that the runtime loads."""
    return compare_session(exporter, runtime.load(model), samples, logits)


def compare_session(exporter: type[Exporter], session: Session, samples: Tensor, logits: Tensor) -> Parity:
    """Closes the session. `logits`: the trained network's."""
    try:
        found = answers(session, samples.contiguous().numpy())
    finally:
        session.close()
    return judged(exporter, found, logits.numpy())


def judged(exporter: type[Exporter], found: Answers, expected: np.ndarray) -> Parity:
    scale = scale_of(expected)
    if any(got.shape != expected.shape for got in found):
        return Parity(float("inf"), 0.0, scale)
    near = np.concatenate([kept(got, expected, exporter.tolerance) for got in found])
    return Parity(float(np.abs(np.stack(found) - expected).max()), float(near.mean()), scale)


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
