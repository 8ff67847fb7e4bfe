"""HELP's latency measurements (arXiv:2106.08630) with its split of the devices, and what its networks consist of.

Read from $HWNAS_DATA: latency_help/{nb201,fbnet}_latency_ms.npz, nb201/nb201_accuracy.npz (the cells' operators).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_NONE = 0
_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Of a NAS-Bench-201 cell, in the order of its operators: from node, to node."""
_OTHERS = "1080ti_1 1080ti_32 1080ti_{batch} silver_4114 silver_4210r samsung_a50 pixel3 essential_ph_1 samsung_s7"
_VALID = "titanx_1 titanx_32 titanx_{batch} gold_6240"
_TEST = "titan_rtx_{batch} gold_6226 fpga pixel2 raspi4 eyeriss"
_LARGEST_BATCH = {"nb201": 256, "fbnet": 64}


@dataclass(frozen=True)
class Family:
    """One space on all devices. Networks are rows; `latency_ms`: by device, [networks].

    `features`: what the transfer is told of a network; `operators`: what predicts a table's networks from others of it.
    """

    latency_ms: dict[str, np.ndarray]
    features: np.ndarray
    operators: np.ndarray
    table_size: int
    """Networks that HELP measures on each meta-training device."""
    others: list[str]
    valid: list[str]
    test: list[str]


def load(space: str) -> Family:
    """`space`: nb201 or fbnet. Raises SystemExit when HWNAS_DATA does not lead to the data."""
    if "HWNAS_DATA" not in os.environ:
        raise SystemExit("set HWNAS_DATA to a folder that holds latency_help/ and nb201/")
    folder = Path(os.environ["HWNAS_DATA"])
    with np.load(folder / "latency_help" / f"{space}_latency_ms.npz", allow_pickle=False) as found:
        latency_ms = dict(zip(found["devices"].astype(str).tolist(), found["latency_ms"], strict=True))
        blocks = found["op_index"] if space == "fbnet" else None
    if blocks is None:
        with np.load(folder / "nb201" / "nb201_accuracy.npz", allow_pickle=False) as found:
            features = operators = _cell(found["op_index"])
        table_size = 900
    else:
        features, operators, table_size = _costs(blocks), _one_hot(blocks), 4000
    splits = [text.format(batch=_LARGEST_BATCH[space]).split() for text in (_OTHERS, _VALID, _TEST)]
    return Family(latency_ms, features, operators, table_size, *splits)


def _cell(operators: np.ndarray) -> np.ndarray:
    """A constant; how many of each operator the cell holds, and how many its output needs (some skip the rest)."""
    needed = np.zeros((len(operators), 4), dtype=bool)
    needed[:, 3] = True
    kept = np.zeros_like(operators)
    for edge in reversed(range(len(_EDGES))):
        start, end = _EDGES[edge]
        kept[:, edge] = np.where(needed[:, end], operators[:, edge], _NONE)
        needed[:, start] |= kept[:, edge] != _NONE
    counts = [(some == kind).sum(1) for some in (operators, kept) for kind in range(1, 5)]
    return np.column_stack([np.ones(len(operators)), *counts]).astype(np.float64)


def _one_hot(blocks: np.ndarray) -> np.ndarray:
    chosen = blocks[:, :, None] == np.arange(9)
    return np.column_stack([np.ones(len(blocks)), chosen.reshape(len(blocks), -1)]).astype(np.float64)


def _costs(blocks: np.ndarray) -> np.ndarray:
    """A constant, blocks, pointwise and depthwise multiply-accumulates, elements written, parameters."""
    table = np.array([[_block(*layer, *block) for block in _BLOCKS] + [(0.0,) * 5] for layer in _layers()])
    return np.column_stack([np.ones(len(blocks)), table[np.arange(blocks.shape[1]), blocks].sum(1)])


_BLOCKS = [(kernel, expand, groups) for kernel in (3, 5) for expand, groups in ((1, 1), (1, 2), (3, 1), (6, 1))]


def _layers() -> list[tuple[int, int, int, int]]:
    """(side in, side out, channels in, channels out) of HW-NAS-Bench's FBNet for CIFAR-100 (arXiv:2103.10584)."""
    side, channels, layers = 32, 16, []
    stages = zip((1, 4, 4, 4, 4, 4, 1), (16, 24, 32, 64, 112, 184, 352), (1, 1, 2, 2, 1, 2, 1), strict=True)
    for repeats, out, stride in stages:
        for layer in range(repeats):
            after = side // (stride if layer == 0 else 1)
            layers.append((side, after, channels, out))
            side, channels = after, out
    return layers


def _block(side: int, after: int, channels: int, out: int, kernel: int, expand: int, groups: int) -> tuple[float, ...]:
    """1×1 (in groups), depthwise k×k, 1×1 (in groups)."""
    middle = channels * expand
    pointwise = (side**2 * channels * middle + after**2 * middle * out) / groups
    depthwise = after**2 * middle * kernel**2
    written = side**2 * middle + after**2 * (middle + out)
    parameters = (channels * middle + middle * out) / groups + middle * kernel**2
    return 1.0, pointwise, float(depthwise), float(written), parameters
