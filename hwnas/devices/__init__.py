"""How a target's device is reached. Wherever it is, `open_runtime` gives the same `Runtime`."""

from hwnas.core.plugins import load
from hwnas.core.target import Target
from hwnas.runtimes import Runtime


def open_runtime(target: Target) -> Runtime:
    """The runtime that the target's profile names. Raises BadInput, Unavailable."""
    return load("runtimes", target.runtime)(target)
