"""Why a run ended without a result: for whoever lists the runs. The journal holds decisions only."""

import contextlib
from pathlib import Path

from pydantic import ValidationError

from hwnas.core.config import Settings
from hwnas.core.errors import HwnasError, StorageFailed
from hwnas.core.files import write_atomic

_FILE = "failure.json"


class Failure(Settings):
    """`exit_code`: of the process; 1 is a defect of hwnas."""

    what: str
    mend: str = ""
    exit_code: int


def note_failure(folder: Path, error: Exception) -> None:
    """Where the disk allows it: the error itself is told anyway."""
    if isinstance(error, HwnasError):
        failure = Failure(what=error.what, mend=error.mend, exit_code=error.exit_code)
    else:
        failure = Failure(what=f"{type(error).__name__}: {error}", exit_code=1)
    with contextlib.suppress(StorageFailed):
        write_atomic(folder / _FILE, failure.model_dump_json() + "\n")


def forget_failure(folder: Path) -> None:
    """The run goes on."""
    with contextlib.suppress(OSError):
        (folder / _FILE).unlink(missing_ok=True)


def failure_of(folder: Path) -> Failure | None:
    """None where it did not fail, or cannot be read."""
    try:
        return Failure.model_validate_json((folder / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None
