"""Keys such as `expanded_conv-input:112x112x16-output:56x56x24-expand:6-kernel:3-stride:2-idskip:0`, in which
ProxylessNAS and Once-for-All write a layer and its shapes (height × width × channels), each with a mean time below it.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from hwnas.core.errors import BadInput

Shape = tuple[int, ...]
_MOST_BYTES = 4 << 20
_KEY = re.compile(r"(?P<layer>[A-Za-z][A-Za-z0-9_]{0,39})(?P<fields>(-[a-z]{1,10}:[0-9]{1,6}(x[0-9]{1,6}){0,2})+)")


class Layer(NamedTuple):
    """`input`, `output`: channels first, as ours. `numbers`: the other fields of the key."""

    name: str
    input: Shape
    output: Shape
    numbers: dict[str, int]

    def follows(self, stride: int) -> bool:
        """Whether the output is as large as 'same' padding makes it."""
        return self.output[1:] == tuple(math.ceil(size / stride) for size in self.input[1:])


def layers(content: bytes) -> Iterator[tuple[Layer, Any]]:
    """Every layer of the file with its `mean`. Raises BadInput for what is not such a file."""
    if len(content) > _MOST_BYTES:
        raise BadInput(f"it has {len(content):,} bytes, more than the {_MOST_BYTES:,} that YAML may have here")
    try:
        # Not the faster C loader: deep nesting overflows its stack, and ends the process.
        found = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadInput(f"it is not valid YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(found, dict):
        raise BadInput(f"it must hold a mapping from layers to times, not {type(found).__name__}")
    for key, facts in found.items():
        if not isinstance(facts, dict) or "mean" not in facts:
            raise BadInput(f"'{str(key)[:120]}' has no mean")
        yield _layer(str(key)), facts["mean"]


def _layer(key: str) -> Layer:
    match = _KEY.fullmatch(key)
    if match is None:
        raise BadInput(f"'{key[:120]}' is no key of this form: layer-input:HxWxC-output:HxWxC-…")
    fields = [field.split(":") for field in match["fields"][1:].split("-")]
    shapes = {name: _channels_first(text) for name, text in fields if name in ("input", "output")}
    numbers = {name: int(text) for name, text in fields if name not in shapes and "x" not in text}
    if len(shapes) != 2 or len(numbers) != len(fields) - 2 or min(*shapes["input"], *shapes["output"]) < 1:
        raise BadInput(f"'{key[:120]}' needs one input shape, one output shape, and each other field once")
    return Layer(match["layer"], shapes["input"], shapes["output"], numbers)


def _channels_first(text: str) -> Shape:
    sizes = tuple(map(int, text.split("x")))
    return (sizes[-1], *sizes[:-1])
