"""Whose latencies these are."""

from typing import Any

from hwnas.core.config import Settings
from hwnas.core.machine import state
from hwnas.runtimes import Runtime


class Fingerprint(Settings):
    """`identity` decides whether a table applies; `recorded` is only warned about."""

    identity: dict[str, str | int]
    recorded: dict[str, Any]

    def differences(self, other: "Fingerprint") -> list[str]:
        """Human-readable: 'device: A here, B in the table'."""
        keys = sorted(self.identity.keys() | other.identity.keys())
        pairs = ((key, self.identity.get(key), other.identity.get(key)) for key in keys)
        return [f"{key}: {mine} here, {theirs} in the table" for key, mine, theirs in pairs if mine != theirs]


def fingerprint(runtime: Runtime) -> Fingerprint:
    """Of this machine with this runtime, now."""
    target = runtime.target
    identity = dict(runtime.identity()) | {
        "precision": target.precision,
        "threads": target.threads,
        "batch": target.batch,
        "measures": runtime.measures,
    }
    if target.host:
        identity["host"] = target.host
    if target.options:
        identity["options"] = ", ".join(f"{key}={value}" for key, value in sorted(target.options.items()))
    return Fingerprint(identity=identity, recorded=state())
