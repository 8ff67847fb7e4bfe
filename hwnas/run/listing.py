"""The run directories of a folder: what each is, how far it came, what it ended with. Only reads, and reads anything:
a directory that is torn or altered is listed as such, with the reason.
"""

import fcntl
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from hwnas.core.errors import BadInput, HwnasError
from hwnas.core.journal import Journal, Record
from hwnas.run.config import RunConfig
from hwnas.run.directory import stored_config
from hwnas.run.failure import failure_of
from hwnas.run.result import Result, load_result

State = Literal["finished", "interrupted", "running", "failed", "damaged"]
"""interrupted: not finished and nobody is at it; a `hwnas search` that is done stays so as well."""
_STAGES = {
    "done": "done",
    "measured": "test",
    "trained": "train",
    "training": "train",
    "searched": "select",
    "profiled": "search",
}
"""The last of these records says where a run is."""


@dataclass(frozen=True)
class Listed:
    """`done` of `of` trials, or of epochs where the stage trains; None where nobody wrote it down. `accuracy`: on the
    test split. `measured_ms`: the median on the target. `trouble`: why it failed, or what is damaged."""

    path: str
    state: State
    stage: str
    done: int
    of: int | None
    seed: int | None = None
    strategy: str = ""
    space: str = ""
    data: str = ""
    target: str = ""
    budget: str = ""
    accuracy: float | None = None
    measured_ms: float | None = None
    within_budget: bool | None = None
    started_at: str | None = None
    changed_at: str | None = None
    failed_trials: int = 0
    trouble: str = ""

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def list_runs(folder: Path) -> list[Listed]:
    """Every run directory in the folder and below it, or the folder's own run; the last changed first. Raises BadInput
    when the folder is not there."""
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}", "hwnas run makes one, or name the folder: hwnas runs FOLDER")
    found = [listed(path) for path in run_directories(folder)]
    return sorted(found, key=lambda run: (run.changed_at or "", run.path), reverse=True)


def run_directories(folder: Path) -> list[Path]:
    found = []
    for name, folders, _ in os.walk(folder):
        if _is_run(path := Path(name)):
            found.append(path)
            folders.clear()
        folders[:] = [inner for inner in folders if not inner.startswith(".")]
    return found


def _is_run(path: Path) -> bool:
    """By its configuration; one that lost that, by the rest. A comparison's folder has a journal too, but no result."""
    if (path / "config.yaml").exists():
        return True
    return (path / "journal.jsonl").exists() and any((path / name).exists() for name in ("checkpoints", "result.json"))


def listed(path: Path) -> Listed:
    config: RunConfig | None = None
    journal, result, troubles = None, None, list[str]()
    try:
        config = stored_config(path)
    except (HwnasError, OSError) as error:
        troubles.append(_said(error))
    try:
        journal = journal_of(path)
    except (HwnasError, OSError) as error:
        troubles.append(_said(error))
    try:
        result = _result_of(path)
    except (HwnasError, OSError) as error:
        troubles.append(_said(error))
    stage, done, of = _progress(journal, config)
    state, failure = _state(path, stage, result, troubles), failure_of(path)
    if state == "interrupted" and failure is not None:
        state, troubles = "failed", [failure.what]
    measured = result.measured_ms if result else None
    return Listed(
        path=str(path),
        state=state,
        stage=stage,
        done=done,
        of=of,
        **(_decided(config) if config else {}),
        accuracy=result.accuracy if result else None,
        measured_ms=measured.median if measured else None,
        within_budget=result.within_budget if result else None,
        started_at=_changed_at(path / "config.yaml"),
        changed_at=_changed_at(path / "journal.jsonl") or _changed_at(path / "config.yaml"),
        failed_trials=len(failed_trials(journal)),
        trouble="; ".join(troubles),
    )


def journal_of(path: Path) -> Journal:
    """Raises BadInput, OSError."""
    file = path / "journal.jsonl"
    if file.exists() and not file.is_file():
        raise BadInput(f"{file} is not a regular file")
    return Journal(file)


def failed_trials(journal: Journal | None) -> list[Record]:
    """Records of trials that could not be judged: `failed` says why, `log` is the file of what it said, in the run."""
    return [record for record in journal.records if record.get("failed") and "arch" in record] if journal else []


def _result_of(path: Path) -> Result | None:
    file = path / "result.json"
    if not file.exists():
        return None
    if not file.is_file():
        raise BadInput(f"{file} is not a regular file")
    return load_result(path)


def _state(path: Path, stage: str, result: Result | None, troubles: list[str]) -> State:
    if troubles:
        return "damaged"
    if _is_held(path):
        return "running"
    return "finished" if stage == "done" and result else "interrupted"


def _is_held(path: Path) -> bool:
    """Whether a process holds the run's lock. Looking takes it for a moment, shared, so that two may look."""
    try:
        with (path / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:  # nobody ever held it, or it is not ours to read
        return False


def _progress(journal: Journal | None, config: RunConfig | None) -> tuple[str, int, int | None]:
    """(stage, done, of how many)."""
    if journal is None:
        return "unknown", 0, None
    stage = next((_STAGES[r["kind"]] for r in reversed(journal.records) if r["kind"] in _STAGES), "profile")
    training = journal.last("training")
    if stage == "train" and training:
        return f"train {training.get('role')}", _whole(training.get("epoch"), -1) + 1, config and config.training.epochs
    wanted = journal.last("searching") or {}
    unit = "epoch" if "epochs" in wanted else "trial"
    return stage, sum(1 for _ in journal.of(unit)), _whole(wanted.get(f"{unit}s"), None)


def _whole(value: object, otherwise: Any) -> Any:
    """A journal says what it likes where it was altered."""
    return value if isinstance(value, int) else otherwise


def _decided(config: RunConfig) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "strategy": config.strategy.name,
        "space": config.space.name,
        "data": config.data.name,
        "target": ", ".join(each.target.name for each in config.each()),
        "budget": ", ".join(each.budget for each in config.each()),
    }


def _changed_at(path: Path) -> str | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(timespec="seconds")
    except (OSError, ValueError, OverflowError):
        return None


def _said(error: HwnasError | OSError) -> str:
    return error.what if isinstance(error, HwnasError) else str(error)
