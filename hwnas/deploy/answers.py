"""What a loaded file answers."""

import numpy as np

from hwnas.runtimes import Session

_BATCH = 256

Answers = tuple[np.ndarray, ...]
"""Logits of the same samples, found in different ways."""


def answers(session: Session, inputs: np.ndarray, alone: bool = True) -> Answers:
    """In large batches; with `alone` also one by one, for a batch of 1 takes other kernels. Words, [n, 1 + state], then
    also as they are read.
    """
    together = in_batches(session, inputs)
    if not alone:
        return (together,)
    found = (together, in_batches(session, inputs, 1))
    reads = inputs.ndim == together.ndim == 2 and 1 < inputs.shape[1] <= together.shape[1]
    return (*found, as_read(session, inputs)) if reads else found


def in_batches(session: Session, inputs: np.ndarray, size: int = _BATCH) -> np.ndarray:
    return np.concatenate([session.infer(inputs[i : i + size]) for i in range(0, len(inputs), size)])


def as_read(session: Session, inputs: np.ndarray) -> np.ndarray:
    """`inputs`: [n, 1 + state]. Each word's state is what the file itself gave with the word before, so that its errors
    add up as they will when it is used. A state of one number throughout begins a text, or is a corner case.
    """
    size, found = inputs.shape[1] - 1, []
    for step in inputs[:, None]:
        begins = not found or np.ptp(step[:, 1:]) == 0
        x = step if begins else np.concatenate([step[:, :1], found[-1][:, -size:]], 1)
        found.append(session.infer(x))
    return np.concatenate(found)
