"""What is known of a folder, kept between runs: reading millions of names again takes minutes."""

import hashlib
import os
from pathlib import Path
from time import time_ns

from hwnas.core.errors import StorageFailed
from hwnas.core.files import write_atomic
from hwnas.core.progress import warn

_SETTLED_NS = 2_000_000_000
"""A file system's clock may tick every other second: what changed since then may change again unseen."""


def index_file(folder: Path, kind: str) -> Path:
    """In the user's cache, since data is often read-only and shared. `kind`: with a version, e.g. files-1."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:24]
    return cache / "hwnas" / f"{name}.{kind}"


def keep(file: Path, content: bytes, newest_ns: int) -> None:
    """`newest_ns`: when the indexed files last changed, by their own clock. What has only just changed is not kept."""
    if time_ns() - newest_ns < _SETTLED_NS:
        return
    try:
        write_atomic(file, content)
    except StorageFailed as error:
        warn(f"{error.what}: the data is indexed again the next time")
