"""How many workers, and what each may use. A run is not decided by where it was done: its digest leaves these out."""

from pydantic import Field

from hwnas.core.config import Settings


class Workers(Settings):
    """Cores of a task are `compute.threads`; 0 there shares this machine's among the workers."""

    count: int = Field(default=0, ge=0)
    """0: no processes of their own. An architecture that crashes then ends the search."""
    seconds: float | None = Field(default=None, gt=0)
    """A task may take so long; then its worker is killed. None: for ever."""
    start_seconds: float = Field(default=600, gt=0)
    """A worker may take so long to start and to read its data, before its first task."""
    memory_mib: int | None = Field(default=None, ge=64)
    """Of a worker's data; a task that needs more fails by itself, before it takes the machine down."""
    gpus: float = Field(default=0.0, ge=0)
    """Each worker has so many; 0.5 lets two share one."""
    retries: int = Field(default=2, ge=0)
    """After a failed attempt, in a fresh worker. Then the task is recorded as failed, and skipped."""


class Ray(Settings):
    address: str | None = None
    """Of the cluster: `auto`, `ray://host:10001`, `host:6379`, or `local` for one on this machine. Its nodes need the
    same packages, and the run directory on a file system that all of them see."""
