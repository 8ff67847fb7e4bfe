"""HW-NAS-Bench's FBNet table for CIFAR-100, as recovered from its sums by least squares (arXiv:2103.10584).

JSON of several devices. Its numbers are relative to `skip`, which is 0 by that choice and therefore no entry; all that
every network has in common, skips included, is `fbnet_base`. The sum over a network's 22 blocks and the base is exact.
"""

import json
from collections.abc import Iterator
from typing import Any

from hwnas.core.errors import BadInput
from hwnas.latency.imports._fbnet_layers import specs
from hwnas.operators.opspec import OpSpec

_STRIDES = (1, 1, 2, 2, 1, 2, 1)
_RESOLUTION = 32
_BASE = OpSpec.of("fbnet_base", (3, _RESOLUTION, _RESOLUTION))


def read(content: bytes, device: str) -> Iterator[tuple[OpSpec, Any]]:
    """Each operator of `device` and its time, in the file's own unit. Raises BadInput."""
    try:
        found = json.loads(content)
        names, devices = [str(name) for name in found["op_names"]], dict(found["devices"])
        dataset = found["dataset"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadInput(f"it is not HW-NAS-Bench's recovered table: {str(error)[:100]}") from error
    if dataset != "cifar100":
        raise BadInput(f"it is of {str(dataset)[:40]!r}; only the CIFAR-100 shapes are known")
    if device not in devices:
        raise BadInput(f"it has no device '{device}'", f"--device: one of {', '.join(map(str, devices))[:300]}")
    try:
        base, rows = devices[device]["base_ms"], [list(row) for row in devices[device]["op_ms_relative_to_skip"]]
        cells = zip(specs(names, _RESOLUTION, _STRIDES), rows, strict=True)
        pairs = [pair for layer, row in cells for pair in zip(layer, row, strict=True)]
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput(f"the times of '{device}' are not 22 layers of {len(names)} operators") from error
    yield _BASE, base
    for spec, value in pairs:
        if spec.kind != "fbnet_skip":
            yield spec, value
        elif value != 0:
            raise BadInput(f"{spec} is {value!r}, where the others are relative to a skip of 0")
