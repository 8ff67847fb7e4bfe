"""A network's file in another precision or format: bytes in, bytes out. Shared by exporters, runtimes and timing."""

from typing import Literal

Int8Form = Literal["u8s7", "u8s8", "s8s8"]
"""Activations unsigned (asymmetric) or signed (symmetric); weights are always signed, one scale a channel.

u8s7: of the weights' steps only 63 to each side. x86 CPUs without VNNI add two products of u8 and s8 in 16 bits (the
instruction vpmaddubsw), where 2 · 255 · 127 does not fit and is cut off; 2 · 255 · 63 fits. No slower, right on every
CPU. https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When to use reduce-range".
"""


def weight_steps(form: Int8Form) -> int:
    """To each side of 0."""
    return 63 if form == "u8s7" else 127
