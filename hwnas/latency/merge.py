"""Two tables of one device as one. What was measured is kept as it is; nothing is averaged."""

from typing import NamedTuple

from hwnas.core.errors import BadInput
from hwnas.latency.table import Calibration, Entry, LatencyTable


class Merged(NamedTuple):
    """`taken`: operator in both tables → "a" or "b", whose entry was kept. `dropped`: spaces whose calibration no
    longer holds; profiling such a space measures its whole networks again.
    """

    table: LatencyTable
    taken: dict[str, str]
    dropped: list[str]


def merge(a: LatencyTable, b: LatencyTable) -> Merged:
    """Of an operator in both, the entry with more samples is kept, of equals the newer one.

    Raises BadInput when the tables were imported, or measured on different devices or by different protocols.
    """
    if a.imported or b.imported:
        raise BadInput("an imported table cannot be merged: nobody here knows how it was measured")
    differences = a.fingerprint.differences(b.fingerprint, "in a", "in b")
    if a.protocol_sha256 != b.protocol_sha256:
        differences.append("protocol: they were timed differently")
    if differences:
        raise BadInput(f"the tables do not belong together ({'; '.join(differences)})", "profile one device for both")
    common = a.entries.keys() & b.entries.keys()
    taken = {key: "a" if _worth(a.entries[key]) >= _worth(b.entries[key]) else "b" for key in sorted(common)}
    entries = a.entries | b.entries | {key: a.entries[key] for key, side in taken.items() if side == "a"}
    calibration, dropped = _calibrations(a, b, entries)
    newest = max((a, b), key=_measured_at)
    update = {"entries": entries, "calibration": calibration, "drift": max(a.drift, b.drift, key=abs)}
    return Merged(newest.model_copy(update=update), taken, dropped)


def _worth(entry: Entry) -> tuple[int, str]:
    return entry.samples, entry.measured_at


def _calibrations(
    a: LatencyTable, b: LatencyTable, entries: dict[str, Entry]
) -> tuple[dict[str, Calibration], list[str]]:
    """A calibration judges sums of its own table's operators: it holds while all of those are unchanged."""
    whole = [t for t in (a, b) if all(entries[key] == entry for key, entry in t.entries.items())]
    kept: dict[str, Calibration] = {}
    for table in whole:
        for space, calibration in table.calibration.items():
            if space not in kept or calibration.measured_at > kept[space].measured_at:
                kept[space] = calibration
    return kept, sorted((a.calibration.keys() | b.calibration.keys()) - kept.keys())


def _measured_at(table: LatencyTable) -> str:
    return max((entry.measured_at for entry in table.entries.values()), default="")
