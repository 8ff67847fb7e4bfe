"""Files that are either whole or not there."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import NoReturn

from hwnas.core.errors import BadInput, StorageFailed

_PART = ".part"


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write beside, flush to disk, then rename over: a reader sees the old file or the new one.

    Raises StorageFailed (the old file untouched) when the disk is full or read-only.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        storage_failed(path, error)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder that is this process's alone."""
    for leftover in folder.rglob(f".*{_PART}"):
        leftover.unlink(missing_ok=True)


def storage_failed(path: Path, error: OSError) -> NoReturn:
    raise StorageFailed(
        f"cannot write {path}: {error.strerror or error}",
        "free some space or choose another folder, then run the same command again: it resumes",
    ) from error


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Raises BadInput when it is missing, no regular file (a link, a pipe), or larger than `most_bytes`."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{path} is not a regular file")
        if status.st_size > most_bytes:
            raise BadInput(f"{path} has {status.st_size:,} bytes, more than the {most_bytes:,} it may have")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
