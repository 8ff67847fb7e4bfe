"""Published latency tables as ours: one file a format. The unit is asked for, never guessed.

A block that means the same as one of our operators gets our key, any other a kind of its own with all its facts in it.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.files import read_regular
from hwnas.core.target import Target
from hwnas.latency.fingerprint import Fingerprint
from hwnas.latency.imports import fbnet, hw_nas_bench, once_for_all, proxylessnas, tf_nas
from hwnas.latency.table import ABSURD_MS, Entry, Imported, LatencyTable
from hwnas.operators.opspec import OpSpec

Reader = Callable[[bytes, str], Iterator[tuple[OpSpec, Any]]]
"""(content, device) → each operator with its number in the file's unit, whatever stands there. Raises BadInput."""

READERS: dict[str, Reader] = {
    "fbnet": fbnet.read,
    "hw-nas-bench": hw_nas_bench.read,
    "once-for-all": once_for_all.read,
    "proxylessnas": proxylessnas.read,
    "tf-nas": tf_nas.read,
}
LEFT_OUT: dict[str, dict[str, str]] = {"fbnet": {"fbnet_base": "stem and head"}}
"""What a format does not hold, though every network of its space has it: its latencies are of the rest."""
_IN_MS: dict[str, float] = {"ms": 1.0, "us": 1e-3}
_MOST_BYTES = 16 << 20
_MOST_ENTRIES = 200_000
_UNSTATED = "not stated"


def import_table(
    file: Path, format_: str, unit: str, name: str, device: str = "", drop_impossible: bool = False
) -> LatencyTable:
    """A table of the target `name`. `device`: whose times they are, in the user's words; where a file holds several, it
    names one of them.

    Raises BadInput for an unknown format or unit, a file that is not of that format, and a time that no operator can
    take (zero, negative, not finite, above a minute) unless `drop_impossible`.
    """
    if format_ not in READERS:
        raise BadInput(f"no table format '{format_}'", f"known: {', '.join(READERS)}")
    if unit not in _IN_MS:
        raise BadInput(f"no unit '{unit}'", "--unit ms or --unit us, as the file's authors say")
    content = read_regular(file.resolve(), _MOST_BYTES)
    now, entries, dropped = datetime.now(UTC).isoformat(timespec="seconds"), {}, []
    try:
        for spec, number in READERS[format_](content, device):
            ms = _ms(spec, number, unit)
            if not 0 < ms < ABSURD_MS:  # also where it is no number
                dropped.append(f"{spec}: {number}")
            elif str(spec) in entries:
                raise BadInput(f"it holds {spec} twice")
            else:
                entries[str(spec)] = _entry(ms, now)
            if len(entries) + len(dropped) > _MOST_ENTRIES:
                raise BadInput(f"it holds more than {_MOST_ENTRIES:,} times")
    except BadInput as error:
        raise BadInput(f"{file} is refused as a table of {format_}: {error.what}", error.mend) from error
    if dropped and not drop_impossible:
        raise BadInput(
            f"{file}: {len(dropped)} of {len(dropped) + len(entries)} times are impossible in {unit} ({dropped[0]})",
            "--drop-impossible leaves them out and says how many; or is it another --unit?",
        )
    if not entries:
        raise BadInput(f"{file} holds no possible time")
    return LatencyTable(
        target=imported_target(name, format_, device),
        fingerprint=Fingerprint(identity={"device": device or _UNSTATED}, recorded={}),
        protocol=None,
        protocol_sha256="",
        imported=Imported(
            format=format_,
            source=file.name,
            source_sha256=hashlib.sha256(content).hexdigest(),
            unit=_unit(unit),
            dropped=len(dropped),
            left_out=LEFT_OUT.get(format_, {}),
        ),
        entries=entries,
    )


def imported_target(name: str, format_: str, device: str) -> Target:
    """A target that can be searched for, and never measured here."""
    words = f"{device or 'a device that was not stated'}, its table imported ({format_})"
    return validate(Target, {"name": name, "description": words, "device": "imported", "runtime": "none"}, "--as")


def _ms(spec: OpSpec, number: Any, unit: str) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BadInput(f"the time of {spec} is not a number: {str(number)[:40]!r}")
    try:
        return float(number) * _IN_MS[unit]
    except OverflowError:
        return math.inf


def _unit(unit: str) -> Literal["ms", "us"]:
    return "ms" if unit == "ms" else "us"


def _entry(ms: float, now: str) -> Entry:
    """One published number is one sample; nothing is known of its spread, hence not stable."""
    return Entry(median_ms=ms, p10_ms=ms, p90_ms=ms, samples=1, rounds=1, stable=False, measured_at=f"imported {now}")
