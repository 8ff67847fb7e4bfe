"""`latency_tables/<target>.json`: measured operators of one target, and how well they add up to networks."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from hwnas.core.config import Settings, validate
from hwnas.core.errors import BadInput
from hwnas.core.files import write_atomic
from hwnas.core.target import Target
from hwnas.latency.fingerprint import Fingerprint
from hwnas.latency.protocol import Protocol
from hwnas.spaces import Space

SCHEMA_VERSION = 1
ABSURD_MS = 60_000.0
"""No single operator takes a minute: such a value is a wrong unit."""


class Entry(Settings):
    """One operator's time. Milliseconds over all samples of all rounds.

    A predicted entry was not timed: it has no samples, and its percentiles are the 80 % interval of its median.
    """

    model_config = ConfigDict(strict=True)
    median_ms: float = Field(gt=0, lt=ABSURD_MS)
    p10_ms: float = Field(gt=0, lt=ABSURD_MS)
    p90_ms: float = Field(gt=0, lt=ABSURD_MS)
    samples: int = Field(ge=0)
    rounds: int = Field(ge=0)
    stable: bool
    predicted: bool = False
    measured_at: str

    @property
    def unstable(self) -> bool:
        """Timed, but another run may find another median."""
        return not self.stable and not self.predicted


class MeasuredNetwork(Settings):
    """A whole network; `repeat_ms` is a second, independent measurement of it (held-out networks only)."""

    arch: tuple[int, ...]
    median_ms: float = Field(gt=0)
    p90_ms: float = Field(gt=0)
    repeat_ms: float | None = Field(default=None, gt=0)


class HeldOutError(Settings):
    """Relative errors (0.05 = 5 %) of the prediction on networks that no fit has seen."""

    networks: int
    mean: float
    max: float
    within_5: float
    within_10: float
    spearman: float
    noise_floor: float
    """Mean relative difference of the same networks measured twice."""


Form = Literal["sum", "neighbours", "whole"]
"""How networks are predicted: the corrected sum of operators; that times what `learned.py` learned; or the target
itself prices each whole network (a compiler that takes milliseconds)."""


class Calibration(Settings):
    """Of one space on this target. `form` was chosen by evidence; `error` is that form's."""

    form: Form = "sum"
    fitted: list[MeasuredNetwork] = Field(min_length=1)
    held_out: list[MeasuredNetwork]
    error: HeldOutError
    stand_in: HeldOutError | None = None
    """Of the sum, where `form` is another: what gradients and integer programs see."""
    measured_at: str


class Imported(Settings):
    """Where a table that nobody measured with hwnas comes from. Each of its entries holds one published number: its
    percentiles repeat it, `samples` is 1, `stable` false. `dropped`: impossible times left out. `left_out`: kind of
    operator → what it is in words, of what every network has, its authors did not time, and sums therefore leave out
    (`Space.part_of`).
    """

    format: str
    source: str
    source_sha256: str
    unit: Literal["ms", "us"]
    dropped: int = Field(ge=0)
    left_out: dict[str, str] = {}


class LatencyTable(Settings):
    """`protocol` is None in an imported table: nobody here knows how it was timed."""

    schema_version: int = SCHEMA_VERSION
    target: Target
    fingerprint: Fingerprint
    protocol: Protocol | None
    protocol_sha256: str
    drift: float = 0.0
    """The most that the machine became slower (negative: faster) while entries were timed: 0.2 = 20 %."""
    entries: dict[str, Entry] = {}
    calibration: dict[str, Calibration] = {}
    imported: Imported | None = None

    @property
    def origin(self) -> str:
        """Empty where the table was measured by hwnas; else what has to be said wherever its latencies are shown."""
        if self.imported is None:
            return ""
        device, own = self.fingerprint.identity.get("device"), self.imported
        without = f", without {', '.join(own.left_out.values())}" if own.left_out else ""
        return f"not measured here: imported from {own.source} ({own.format}, device: {device}{without})"

    def predicted(self, space: Space) -> list[str]:
        """Those of the space's operators whose time was predicted, not measured."""
        keys = {str(conditional.spec) for conditional in space.operators()}
        return sorted(key for key in keys if key in self.entries and self.entries[key].predicted)

    def save(self, path: Path) -> None:
        write_atomic(path, _serialise(self.model_dump(mode="json")))

    def content_sha256(self) -> str:
        return json.loads(_serialise(self.model_dump(mode="json")))["sha256"]


def _serialise(content: dict[str, Any]) -> str:
    """Canonical text, so that any altered byte shows."""
    content = {key: value for key, value in content.items() if key != "sha256"}
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    signed = content | {"sha256": hashlib.sha256(plain.encode()).hexdigest()}
    return json.dumps(signed, indent=1, sort_keys=True, allow_nan=False) + "\n"


def load_table(path: Path) -> LatencyTable:
    """Raises BadInput when the table is missing, torn, altered, of a newer schema or holds impossible values."""
    again = f"profile again: hwnas profile --target {path.stem} --fresh"
    try:
        text = path.read_bytes().decode()  # not read_text(), which takes a carriage return for a new line
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except OSError as error:
        raise BadInput(f"cannot read the latency table {path}: {error.strerror}", again) from error
    except ValueError as error:
        raise BadInput(f"the latency table {path} is torn or not JSON: {str(error)[:100]}", again) from error
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BadInput(f"the latency table {path} has schema {version}, newer than this hwnas", "upgrade hwnas")
    try:
        canonical = _serialise(content)
    except ValueError as error:
        raise BadInput(f"the latency table {path} holds a value that is no number (NaN or infinite)", again) from error
    if content.get("imported"):
        again = "import it again: hwnas table import"
    stored = content.pop("sha256", None)
    table = _checked(content, path, again)
    if text != canonical or stored not in canonical:
        raise BadInput(f"the latency table {path} was altered since it was measured (its sha256 differs)", again)
    return table


def _checked(content: dict[str, Any], path: Path, again: str) -> LatencyTable:
    try:
        table = validate(LatencyTable, content, str(path))
    except BadInput as error:
        raise BadInput(f"the latency table is refused. {error.what}", again) from error
    for key, entry in table.entries.items():
        if not entry.p10_ms <= entry.median_ms <= entry.p90_ms:
            raise BadInput(f"the latency table {path} is refused: percentiles of {key} are out of order", again)
        if entry.predicted != (entry.samples == 0) or entry.predicted != (entry.rounds == 0):
            raise BadInput(f"the latency table {path} is refused: {key} must be either timed or predicted", again)
    return table
