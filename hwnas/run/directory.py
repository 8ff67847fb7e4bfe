"""A run directory: its configuration, its journal, and the lock that keeps a second process out.

Of several ranks one has it; the others work from what that one tells them, and write nothing.
"""

from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hwnas.core.config import read_yaml, validate
from hwnas.core.errors import BadInput
from hwnas.core.files import storage_failed, sweep, write_atomic
from hwnas.core.journal import Journal
from hwnas.run.config import RunConfig
from hwnas.run.failure import forget_failure
from hwnas.training.ranks import Ranks, here

_GLANCE_SECONDS = 0.2
"""Whoever lists runs holds a lock for an instant, to see whether it is free."""


class RunDirectory:
    """Raises BadInput when the directory is in use, or belongs to another configuration."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config
        self._lock: FileLock | None = None
        ranks = here()
        try:
            if ranks.writer:
                self._lock = held(path)
                sweep(path)
                self._claim()
            self._require_equal_configurations(ranks)
            self.journal: Journal = ranks.journal(path / "journal.jsonl")
            if ranks.writer:
                forget_failure(path)
        except BadInput:
            self.close()
            raise

    def _require_equal_configurations(self, ranks: Ranks) -> None:
        if ranks.told(self.config.digest) != self.config.digest():
            raise BadInput(f"rank {ranks.rank} has another configuration than rank 0", "give every rank one command")

    def _claim(self) -> None:
        file = self.path / "config.yaml"
        if not file.exists():
            write_atomic(file, self.config.to_yaml())
        elif stored_config(self.path).digest() != self.config.digest():
            changed = _changes(read_yaml(file), self.config.model_dump(mode="json"))
            raise BadInput(f"{self.path} holds a run with another configuration ({changed})", "choose another --out")

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"


def held(path: Path) -> FileLock:
    """The folder's lock, taken. Raises BadInput when another process has it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock")
        lock.acquire(timeout=_GLANCE_SECONDS, poll_interval=_GLANCE_SECONDS / 10)
    except Timeout as error:
        raise BadInput(f"{path} is in use by another hwnas", "wait for it, or choose another --out") from error
    except OSError as error:
        storage_failed(path, error)
    return lock


def stored_config(path: Path) -> RunConfig:
    """The configuration of an existing run. Raises BadInput when there is none."""
    if not (path / "config.yaml").is_file():
        raise BadInput(f"{path} is not a run directory: it has no config.yaml", "give the directory that --out named")
    return validate(RunConfig, read_yaml(path / "config.yaml"), str(path / "config.yaml"))


def _changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The first differing settings, e.g. 'seed: 0 → 1'."""
    flat_old, flat_new = _flatten(old), _flatten(new)
    keys = [key for key in flat_new if flat_old.get(key) != flat_new[key]]
    return "; ".join(f"{key}: {flat_old.get(key)} → {flat_new[key]}" for key in keys[:3])


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
            flat |= _flatten({f"{key}.{number}": entry for number, entry in enumerate(value)}, prefix)
        elif isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
