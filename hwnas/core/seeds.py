"""Every random stream is named, and its seed is derived from the run's seed and that name.

No stream depends on another, on the process or on PYTHONHASHSEED, so a stage or an epoch can be
repeated alone and gives the same numbers.
"""

import hashlib
import random

import numpy as np


def derive(seed: int, *name: object) -> int:
    """A 63-bit seed for the stream `name` of a run with this seed."""
    digest = hashlib.sha256(repr((seed, *map(str, name))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, *name: object) -> random.Random:
    return random.Random(derive(seed, *name))


def numpy_stream(seed: int, *name: object) -> np.random.Generator:
    return np.random.default_rng(derive(seed, *name))
