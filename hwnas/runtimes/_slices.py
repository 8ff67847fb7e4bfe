"""Any batch through a network that was compiled for one."""

from collections.abc import Callable

import numpy as np

from hwnas.core.errors import BadInput


def in_slices(inputs: np.ndarray, shape: tuple[int, ...], run: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`run`: an input of `shape` → its output, copied. The last slice is filled up with zeros. Raises BadInput."""
    check_input(inputs, shape)
    batch, outputs = shape[0], []
    for start in range(0, len(inputs), batch):
        part = np.zeros(shape, np.float32)
        count = len(inputs[start : start + batch])
        part[:count] = inputs[start : start + batch]
        outputs.append(run(part)[:count].copy())
    return np.concatenate(outputs)


def check_input(inputs: np.ndarray, shape: tuple[int, ...]) -> None:
    """Of any batch. Raises BadInput."""
    if inputs.shape[1:] != shape[1:] or inputs.dtype != np.float32:
        raise BadInput(f"the model takes float32 {shape}, of any batch, not {inputs.dtype} {inputs.shape}")
