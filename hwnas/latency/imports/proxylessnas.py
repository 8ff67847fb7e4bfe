"""ProxylessNAS's per-block YAML (`mobile_trim.yaml`; arXiv:1812.00332; github.com/mit-han-lab/proxylessnas).

`Conv`, `expanded_conv`, `Conv_1` and `Logits` (everything after `Conv_1`) are our `conv`, `mbconv`, `conv` and
`classifier`. A block whose shortcut or padding is not ours keeps all its facts under `proxyless_block`.
"""

from collections.abc import Iterator
from typing import Any

from hwnas.core.errors import BadInput
from hwnas.latency.imports._keys import Layer, layers
from hwnas.operators.opspec import OpSpec

_ACT = "relu6"
_BLOCK = {"expand", "kernel", "stride", "idskip"}


def read(content: bytes, device: str) -> Iterator[tuple[OpSpec, Any]]:
    """Each operator and its mean, in the file's own unit. Raises BadInput."""
    for layer, mean in layers(content):
        yield _spec(layer), mean


def _spec(layer: Layer) -> OpSpec:
    channels = layer.output[0]
    if layer.name == "expanded_conv" and layer.numbers.keys() == _BLOCK and len(layer.input) == len(layer.output) == 3:
        n = layer.numbers
        facts = {"kernel": n["kernel"], "stride": n["stride"], "expand": n["expand"], "out": channels, "act": _ACT}
        shortcut = n["stride"] == 1 and channels == layer.input[0]
        if min(n["kernel"], n["stride"], n["expand"]) > 0 and layer.follows(n["stride"]) and shortcut == n["idskip"]:
            return OpSpec.of("mbconv", layer.input, **facts, se=False)
        size = "x".join(map(str, layer.output[1:]))
        return OpSpec.of("proxyless_block", layer.input, **facts, idskip=n["idskip"], size=size)
    if layer.numbers:
        raise BadInput(f"the fields of a '{layer.name}' are not ProxylessNAS's: {', '.join(layer.numbers)}")
    if layer.name == "Conv" and layer.follows(2):
        return OpSpec.of("conv", layer.input, out=channels, kernel=3, stride=2, act=_ACT)
    if layer.name == "Conv_1" and layer.follows(1):
        return OpSpec.of("conv", layer.input, out=channels, kernel=1, stride=1, act=_ACT)
    if layer.name == "Logits" and layer.output == (channels,):
        return OpSpec.of("classifier", layer.input, classes=channels)
    raise BadInput(f"ProxylessNAS has no layer '{layer.name}' from {layer.input} to {layer.output}")
