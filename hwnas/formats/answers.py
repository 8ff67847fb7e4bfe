"""Whether rounded logits still give the network's answers."""

import numpy as np


def kept(got: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    """[n] of bool: the answer is the network's own, or one that it rates within `tolerance` of its own, relative to
    `scale_of(expected)`. `got`, `expected`: logits [n, classes].
    """
    rated = np.take_along_axis(expected, got.argmax(1)[:, None], axis=1)[:, 0]
    return expected.max(1) - rated <= tolerance * scale_of(expected)


def scale_of(logits: np.ndarray) -> float:
    """The largest |logit|, or 1 where that is larger."""
    return max(1.0, float(np.abs(logits).max()))
