"""How a target's device is reached. Wherever it is, `open_runtime` gives the same `Runtime`."""

from hwnas.core.errors import Unavailable
from hwnas.core.plugins import load
from hwnas.core.target import Target
from hwnas.runtimes import Runtime


def open_runtime(target: Target) -> Runtime:
    """The runtime that the target's profile names, on this machine or over ssh or adb. Raises BadInput, Unavailable.

    A device elsewhere is connected to when it is first asked for something, not before.
    """
    if target.device == "imported":
        raise Unavailable(f"nothing can be measured on '{target.name}': its table was imported")
    if target.host.startswith("ssh://"):
        from hwnas.devices.ssh import Ssh

        return Ssh(target)
    if target.host.startswith("adb://"):
        from hwnas.devices.adb import Adb

        return Adb(target)
    return load("runtimes", target.runtime)(target)
