"""int8 that keeps its answers: the layers that rounding hurts most stay in float.

Each layer's effect is what it costs: the mean squared error of the logits, less that error with this layer alone in
float (the "leave one out" form of sensitivity analysis). Layers are then left in float greedily, the most harmful
first, until enough answers are kept. The file's metadata names them.
"""

import numpy as np
import onnx
import onnxruntime as ort

from hwnas.core.progress import Progress, warn
from hwnas.formats import Int8Form
from hwnas.formats.answers import kept
from hwnas.formats.int8 import Calibrated

FLOATS = "hwnas.float_layers"
"""The key of their names in the metadata, a line each."""
_LEAST = 0.99
"""Of the answers: then accuracy falls by one point at most."""
_JUDGES = 64
"""Samples that a layer's effect is measured on."""
_MOST = 0.25
"""Of the layers may stay in float: beyond, the network is no longer an int8 one."""


def quantize_sparing(model: bytes, samples: np.ndarray, form: Int8Form, tolerance: float, mixed: bool = True) -> bytes:
    """As `formats.int8.quantize`, with as few layers in float as keep 99 % of the samples' answers (within `tolerance`:
    `answers.kept`); none where not `mixed`. Where even the most allowed keep fewer, those that keep most.
    """
    network = Calibrated.of(model, samples)
    rounded, layers = network.quantize(form), network.layers()
    if not mixed or not layers:
        return rounded
    expected = _logits(model, samples)
    best = float(kept(_logits(rounded, samples), expected, tolerance).mean())
    if best >= _LEAST:
        return rounded
    floats: frozenset[str] = frozenset()
    order = _by_effect(network, layers, form, samples[:_JUDGES], expected[:_JUDGES])
    for count in range(1, max(1, round(_MOST * len(layers))) + 1):
        attempt = frozenset(order[:count])
        tried = network.quantize(form, attempt)
        share = float(kept(_logits(tried, samples), expected, tolerance).mean())
        if share > best:
            best, floats, rounded = share, attempt, tried
        if best >= _LEAST:
            break
    if not floats:
        return rounded
    warn(
        f"int8 keeps {100 * best:.1f} % of the answers with {len(floats)} layers in float: {', '.join(sorted(floats))}"
    )
    return _named(rounded, floats)


def _by_effect(
    network: Calibrated, layers: list[str], form: Int8Form, samples: np.ndarray, expected: np.ndarray
) -> list[str]:
    """The most harmful first."""
    errors = {}
    with Progress("int8: which layers rounding hurts", len(layers)) as progress:
        for layer in layers:
            got = _logits(network.quantize(form, frozenset({layer})), samples)
            errors[layer] = float(np.mean((got - expected) ** 2))
            progress.advance()
    return sorted(layers, key=errors.__getitem__)


def _logits(model: bytes, samples: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the same sums every time
    options.log_severity_level = 3
    # Else what a CPU without VNNI cuts off is taken for harm that rounding does (`hwnas.formats.Int8Form`).
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: samples})[0])


def _named(model: bytes, floats: frozenset[str]) -> bytes:
    proto = onnx.load_model_from_string(model)
    proto.metadata_props.add(key=FLOATS, value="\n".join(sorted(floats)))
    return proto.SerializeToString()
