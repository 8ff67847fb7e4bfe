"""TF-NAS's look-up tables as gzipped JSON (arXiv:2008.05314; github.com/AberHu/TF-NAS).

`MBInvertedResBlock_{size}_{channels}_{se channels}_{out}_k{kernel}_s{stride}_{act}` → a list whose element i is the
block's time with i + 1 middle channels: our `tfnas_block`. `base` is all the rest of a network: `tfnas_base`. Its
authors measured every 8th width and extrapolated, so that a few narrow blocks lie below zero.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

from hwnas.core.errors import BadInput
from hwnas.operators.opspec import OpSpec

MOST_UNPACKED = 64 << 20
_BASE = OpSpec.of("tfnas_base", (3, 224, 224))
_KEY = re.compile(
    r"MBInvertedResBlock_(?P<size>\d{1,4})_(?P<channels>\d{1,5})_(?P<se>\d{1,5})_(?P<out>\d{1,5})"
    r"_k(?P<kernel>\d)_s(?P<stride>\d)_(?P<act>relu|swish)"
)


def read(content: bytes, device: str) -> Iterator[tuple[OpSpec, Any]]:
    """Each operator and its time, in the file's own unit. Raises BadInput."""
    try:
        found = json.loads(_unpacked(content))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"it is not JSON: {str(error)[:100]}") from error
    if not isinstance(found, dict) or "base" not in found:
        raise BadInput("it must hold a mapping with a 'base'")
    for key, value in found.items():
        if key == "base":
            yield _BASE, value
            continue
        match = _KEY.fullmatch(key)
        if match is None or not isinstance(value, list):
            raise BadInput(f"'{key[:120]}' is no block of TF-NAS with a list of times")
        facts = {name: int(match[name]) for name in ("kernel", "stride", "out", "se")}
        shape = (int(match["channels"]), int(match["size"]), int(match["size"]))
        for width, ms in enumerate(value, start=1):
            yield OpSpec.of("tfnas_block", shape, **facts, act=match["act"], mid=width), ms


def _unpacked(content: bytes) -> bytes:
    """Never more than `MOST_UNPACKED` bytes, however small the file."""
    try:
        data = gzip.GzipFile(fileobj=io.BytesIO(content)).read(MOST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"it is not a whole gzip file: {error}") from error
    if len(data) > MOST_UNPACKED:
        raise BadInput(f"it unpacks to more than {MOST_UNPACKED:,} bytes")
    return data
