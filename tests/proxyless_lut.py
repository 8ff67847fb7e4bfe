"""A look-up table for one of our spaces, in the keys of ProxylessNAS's own code."""

import random

from hwnas.operators import output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces.mobile import Mobile


def proxyless_yaml(space: Mobile, seed: int = 0) -> dict[str, dict[str, float]]:
    rng = random.Random(seed)
    return {proxyless_key(c.spec): {"mean": rng.uniform(0.1, 2), "std": 0.1} for c in space.operators()}


def proxyless_key(spec: OpSpec) -> str:
    facts, out = spec.attributes(), output_shape(spec)
    shapes = f"input:{_size(spec.input_shape)}-output:{_size(out)}"
    if spec.kind == "classifier":
        return f"Logits-{shapes}"
    if spec.kind == "conv":
        return f"{'Conv' if facts['kernel'] == 3 else 'Conv_1'}-{shapes}"
    shortcut = int(facts["stride"] == 1 and out == spec.input_shape)
    return "expanded_conv-{}-expand:{expand}-kernel:{kernel}-stride:{stride}-idskip:{skip}".format(
        shapes, **facts, skip=shortcut
    )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, (*shape[1:], shape[0])))
