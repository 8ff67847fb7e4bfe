"""Once-for-All's per-block YAML for MobileNetV3 (arXiv:1908.09791; github.com/mit-han-lab/once-for-all).

ProxylessNAS's keys with `se` and `hs` (hard swish, else ReLU); `expand` holds the middle channels, not their ratio.
Blocks whose middle is a whole multiple of the input are our `mbconv`, others `ofa_block`. The head stands in three
parts (`AvgPool2D`, `Conv_2` without norm, `Logits`) that we have no operators for: `ofa_pool`, `ofa_mix`, `ofa_linear`.
"""

from collections.abc import Iterator
from typing import Any

from hwnas.core.errors import BadInput
from hwnas.latency.imports._keys import Layer, layers
from hwnas.operators.opspec import OpSpec

_ENDS = {"AvgPool2D": "ofa_pool", "Conv_2": "ofa_mix", "Logits": "ofa_linear"}
_BLOCK = {"expand", "kernel", "stride", "idskip", "se", "hs"}


def read(content: bytes, device: str) -> Iterator[tuple[OpSpec, Any]]:
    """Each operator and its mean, in the file's own unit. Raises BadInput."""
    for layer, mean in layers(content):
        yield _spec(layer), mean


def _spec(layer: Layer) -> OpSpec:
    out = layer.output[0]
    if layer.name == "expanded_conv" and layer.numbers.keys() == _BLOCK and len(layer.input) == len(layer.output) == 3:
        return _block(layer)
    if layer.numbers:
        raise BadInput(f"the fields of a '{layer.name}' are not Once-for-All's: {', '.join(layer.numbers)}")
    if layer.name == "Conv" and layer.follows(2):
        return OpSpec.of("conv", layer.input, out=out, kernel=3, stride=2, act="hardswish")
    if layer.name == "Conv_1" and layer.follows(1):
        return OpSpec.of("conv", layer.input, out=out, kernel=1, stride=1, act="hardswish")
    if layer.name in _ENDS:
        return OpSpec.of(_ENDS[layer.name], layer.input, out=out)
    raise BadInput(f"Once-for-All has no layer '{layer.name}' from {layer.input} to {layer.output}")


def _block(layer: Layer) -> OpSpec:
    n, channels = layer.numbers, layer.input[0]
    out, middle = layer.output[0], n["expand"]
    facts = {"kernel": n["kernel"], "stride": n["stride"], "out": out, "se": bool(n["se"])}
    facts["act"] = "hardswish" if n["hs"] else "relu"
    shortcut = n["stride"] == 1 and channels == out
    ours = min(n["kernel"], n["stride"], middle) > 0 and layer.follows(n["stride"]) and shortcut == n["idskip"]
    if ours and middle % channels == 0:
        return OpSpec.of("mbconv", layer.input, **facts, expand=middle // channels)
    size = "x".join(map(str, layer.output[1:]))
    return OpSpec.of("ofa_block", layer.input, **facts, mid=middle, idskip=n["idskip"], size=size)
