"""A network's file in another precision or format: bytes in, bytes out. Shared by exporters, runtimes and timing."""

from typing import Literal

Int8Form = Literal["u8s8", "s8s8"]
"""Activations unsigned (asymmetric) or signed (symmetric); weights are always signed, one scale a channel."""
