"""Which exporter writes a file for a target, and which format is the target's own."""

from hwnas.core.errors import Unavailable
from hwnas.core.plugins import load
from hwnas.core.progress import say
from hwnas.exporters import DEPLOYED, Exporter
from hwnas.runtimes import Runtime


def exporter_for(name: str, runtime: Runtime) -> Exporter:
    """As the target's runtime asks for it; but a file that the target does not run may be read by a CPU without VNNI.

    Raises BadInput, Unavailable.
    """
    elsewhere = name != DEPLOYED[runtime.target.precision] and runtime.int8_form == "u8s8"
    return load("exporters", name)("u8s7" if elsewhere else runtime.int8_form, runtime.target, runtime.mixed)


def own_format(runtime: Runtime) -> list[str]:
    """The exporter of the target's own file format: none where its package is not here, which is said, or where a
    compiler of this machine would write it for this machine instead."""
    target = runtime.target
    name = runtime.own_format.get(target.precision)
    if name is None:
        return []
    try:
        exporter = load("exporters", name)
    except Unavailable as error:
        say(f"the bundle goes without {name}: {error.what}")
        return []
    return [] if target.host and exporter.recompiled is not Exporter.recompiled else [name]
