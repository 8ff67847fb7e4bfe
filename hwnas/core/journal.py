"""An append-only record of a run: one JSON object a line, flushed to disk before anything relies on it.

A torn last line (a kill in the middle of a write) is left out on opening and cut off by the next append, so that
opening only reads; a torn line anywhere else means the file was altered, and it is refused. Processes that append to
one file take turns by its lock.
"""

import fcntl
import gc
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hwnas.core.errors import BadInput
from hwnas.core.files import storage_failed

Record = dict[str, Any]

VOLATILE = ("_ms", "_ns", "_seconds", "_at", "measured")
"""Fields left out of the digest: times and measurements differ between runs that are otherwise equal."""


class Journal:
    """The records of one file, in order: all of them as of the last `append` or `refresh`. A run's journal has one
    writer, which the run directory's lock sees to; workers share others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self.watchers: list[Callable[[Record], object]] = []
        """Called with every record that is appended here from now on."""
        self._whole = 0
        self.refresh()

    def refresh(self) -> list[Record]:
        """What other processes have appended, now among the records."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            return self._catch_up(file)

    def _catch_up(self, file: IO[bytes]) -> list[Record]:
        known = len(self.records)
        file.seek(self._whole)
        with _no_collection():
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.records.append(self._parse(len(self.records) + 1, line))
                self._whole += len(line)
        return self.records[known:]

    def _parse(self, number: int, line: bytes) -> Record:
        try:
            record = json.loads(line.decode())
            assert isinstance(record, dict) and isinstance(record["kind"], str)
        except (ValueError, AssertionError, KeyError) as error:
            raise BadInput(
                f"{self.path} line {number} is not a journal record: the file was altered",
                "restore the file, or start again with another --out",
            ) from error
        return record

    def append(self, kind: str, **fields: Any) -> Record:
        """Returns when the record is on disk. Raises StorageFailed when it cannot be; nothing is half-written."""
        return self._append({"kind": kind, **fields}, lambda file: os.fsync(file.fileno()))

    def jot(self, kind: str, **fields: Any) -> Record:
        """As `append`, at once: a power cut may cost it, a kill does not."""
        return self._append({"kind": kind, **fields}, lambda file: None)

    def _append(self, record: Record, settle: Callable[[IO[bytes]], object]) -> Record:
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._catch_up(file)
                self._write(file, line, settle)
        except OSError as error:
            storage_failed(self.path, error)
        self.records.append(record)
        for watcher in self.watchers:
            watcher(record)
        return record

    def _write(self, file: IO[bytes], line: bytes, settle: Callable[[IO[bytes]], object]) -> None:
        size = self._whole = min(self._whole, file.seek(0, os.SEEK_END))
        try:
            file.truncate(size)  # the torn tail of a write that was killed
            written = 0
            while written < len(line):
                written += file.write(line[written:])
            settle(file)
        except OSError:
            file.truncate(size)
            raise
        self._whole = size + len(line)

    def of(self, kind: str, **where: Any) -> Iterator[Record]:
        """The records of a kind whose fields equal `where`, oldest first."""
        return (r for r in self.records if r["kind"] == kind and _matches(r, where))

    def last(self, kind: str, **where: Any) -> Record | None:
        newest_first = reversed(self.records)
        return next((r for r in newest_first if r["kind"] == kind and _matches(r, where)), None)

    def digest(self) -> str:
        """sha256 of what was decided, without times and measurements."""
        return hashlib.sha256(json.dumps(_decided(self.records), sort_keys=True).encode()).hexdigest()


class Replica(Journal):
    """Of a process beside the one that writes: what that had written, and from then on what both append."""

    def __init__(self, path: Path, records: list[Record]) -> None:
        self.path, self.records, self.watchers = path, records, []

    def append(self, kind: str, **fields: Any) -> Record:
        self.records.append({"kind": kind, **fields})
        return self.records[-1]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Records are no garbage: looking for some, again and again, doubles the time that a long journal takes to open."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _matches(record: Record, where: Record) -> bool:
    return all(record.get(key) == value for key, value in where.items())


def _decided(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _decided(v) for k, v in value.items() if not k.endswith(VOLATILE)}
    if isinstance(value, list):
        return [_decided(v) for v in value]
    return value
