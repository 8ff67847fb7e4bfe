"""What a loaded file answers."""

import numpy as np

from hwnas.runtimes import Session

_BATCH = 256


def answers(session: Session, inputs: np.ndarray, alone: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Logits of all samples in large batches, and one by one: a batch of 1 takes other kernels. The same twice without
    `alone`."""
    together = in_batches(session, inputs)
    return together, in_batches(session, inputs, 1) if alone else together


def in_batches(session: Session, inputs: np.ndarray, size: int = _BATCH) -> np.ndarray:
    return np.concatenate([session.infer(inputs[i : i + size]) for i in range(0, len(inputs), size)])
