"""Whose latencies these are."""

from collections.abc import Mapping
from typing import Any

from hwnas.core.config import Settings
from hwnas.runtimes import Runtime


class Fingerprint(Settings):
    """`identity` decides whether a table applies; `recorded` is only warned about."""

    identity: dict[str, str | int]
    recorded: dict[str, Any]

    def differences(self, other: "Fingerprint", mine: str = "here", theirs: str = "in the table") -> list[str]:
        """Human-readable: 'device: A here, B in the table'."""
        keys = sorted(self.identity.keys() | other.identity.keys())
        pairs = ((key, self.identity.get(key), other.identity.get(key)) for key in keys)
        return [f"{key}: {a} {mine}, {b} {theirs}" for key, a, b in pairs if a != b]


def fingerprint(runtime: Runtime) -> Fingerprint:
    """Of the device that this runtime runs on, now."""
    target = runtime.target
    identity = dict(runtime.identity()) | {
        "precision": target.precision,
        "threads": target.threads,
        "batch": target.batch,
        "measures": runtime.measures,
    }
    if runtime.estimate:
        identity["estimated_by"] = f"{identity['runtime']} {identity['runtime_version']}"
    if target.host:
        identity["host"] = target.host
    if options := {key: value for key, value in target.options.items() if key not in runtime.incidental}:
        identity["options"] = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    return Fingerprint(identity=identity, recorded=dict(runtime.state()))


def how_known(identity: Mapping[str, str | int]) -> str:
    """What a time there has to be called: 'measured', or 'estimated (ethos-u-vela 5.2.0)'."""
    by = identity.get("estimated_by")
    return f"estimated ({by})" if by else "measured"
