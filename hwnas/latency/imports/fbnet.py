"""FBNet's look-up table as text: operator names, then a line for each of the 22 layers at 224 pixels.

The form of github.com/AnnaAraslanova/FBNet (`lookup_table.txt`, written there in microseconds); a skip with stride or
another width is a convolution, and costs what one costs. Stem and head are not in it.
"""

from collections.abc import Iterator
from typing import Any

from hwnas.core.errors import BadInput
from hwnas.latency.imports._fbnet_layers import LAYERS, specs
from hwnas.operators.opspec import OpSpec

_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_RESOLUTION = 112


def read(content: bytes, device: str) -> Iterator[tuple[OpSpec, Any]]:
    """Each operator and its time, in the file's own unit. Raises BadInput."""
    try:
        lines = [line.split() for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BadInput("it is not text") from error
    if len(lines) != 1 + LAYERS:
        raise BadInput(f"it needs a line of operator names and {LAYERS} lines of times, and has {len(lines)} lines")
    names, rows = lines[0], lines[1:]
    for layer, row in zip(specs(names, _RESOLUTION, _STRIDES), rows, strict=True):
        if len(row) != len(layer):
            raise BadInput(f"layer {rows.index(row) + 1} has {len(row)} times for {len(names)} operators")
        for spec, text in zip(layer, row, strict=True):
            yield spec, _number(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadInput(f"'{text[:40]}' is not a number") from error
