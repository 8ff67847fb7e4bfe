"""The pool: every task ends once, whatever becomes of the process that does it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.core.errors import BadInput, Unavailable
from hwnas.workers import open_pool
from hwnas.workers.local import gpus_of
from hwnas.workers.pool import Failure, Pool, Task
from hwnas.workers.settings import Ray, Workers


@pytest.fixture(params=["here", pytest.param("ray", marks=pytest.mark.slow)])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Pool]:
    """`pool(count=2)`: workers of this machine, or of a Ray cluster's one node."""
    where = Ray() if request.param == "here" else Ray(address=request.getfixturevalue("cluster").address)

    def opened(**settings: Any) -> Pool:
        return open_pool(Workers(**settings), where, tmp_path / "logs", cores=1)

    return opened


def outcomes(pool: Pool, function: Callable[..., Any], *each: tuple[Any, ...], key: Any = None) -> dict[str, Any]:
    for number, arguments in enumerate(each):
        pool.submit(Task(f"task-{number}", function, arguments, key))
    found = dict[str, Any]()
    for _ in each:
        task, outcome = pool.next()
        assert task.name not in found
        found[task.name] = outcome
    return found


def double(number: int) -> int:
    return 2 * number


def die_once(flag: str, how: int) -> int:
    """Kills its own process the first time."""
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), how)
        time.sleep(60)
    return os.getpid()


def crash(number: int) -> int:
    print("about to crash")
    if number == 1:
        raise RuntimeError("a bad architecture")
    return number


def segfault(number: int) -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return number


def fill_memory(mib: int) -> int:
    return int(np.ones(mib * 2**17).sum())


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def refuse() -> None:
    raise BadInput("not like this", "like that")


def alone(folder: str) -> int:
    """How many of these run now."""
    mark = Path(folder) / str(os.getpid())
    mark.touch()
    time.sleep(0.2)
    running = len(list(Path(folder).iterdir()))
    mark.unlink()
    return running


def test_every_task_ends_once_and_leaves_no_log(pool: Any, tmp_path: Path) -> None:
    with pool(count=2) as workers:
        found = outcomes(workers, double, *((n,) for n in range(20)))
    assert found == {f"task-{n}": 2 * n for n in range(20)}
    assert not list((tmp_path / "logs").iterdir())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_s_task_is_done_again_by_another(pool: Any, tmp_path: Path, how: int, capfd: Any) -> None:
    with pool(count=1) as workers:
        found = outcomes(workers, die_once, (str(tmp_path / "flag"), how))
    assert isinstance(found["task-0"], int)
    said = capfd.readouterr().err
    assert "task-0: its worker was killed by " in said or "task-0: ActorDiedError" in said


def test_a_task_that_always_crashes_fails_with_its_log_and_harms_no_other(pool: Any, capfd: Any) -> None:
    with pool(count=2, retries=1) as workers:
        found = outcomes(workers, crash, (0,), (1,), (2,))
    failure = found.pop("task-1")
    assert isinstance(failure, Failure) and found == {"task-0": 0, "task-2": 2}
    assert failure.why == "RuntimeError: a bad architecture"
    log = failure.log.read_text()
    assert log.count("about to crash") == log.count("Traceback") == 2
    assert "attempt 2 of 2" in capfd.readouterr().err


def test_a_segmentation_fault_is_in_the_log(pool: Any, tmp_path: Path) -> None:
    with pool(count=1, retries=0) as workers:
        failure = outcomes(workers, segfault, (0,))["task-0"]
    assert ("SIGSEGV" in failure.why or "ActorDiedError" in failure.why) and "in segfault" in failure.log.read_text()


def test_a_task_that_needs_too_much_memory_fails_by_itself(pool: Any, tmp_path: Path) -> None:
    with pool(count=1, retries=0, memory_mib=1024) as workers:
        found = outcomes(workers, fill_memory, (8,), (4096,), (8,))
    failure = found["task-1"]
    assert "Unable to allocate 4.00 GiB" in failure.why and "MemoryError" in failure.log.read_text()
    assert found["task-0"] == found["task-2"] == 8 * 2**17


def test_a_task_that_hangs_is_ended_at_its_limit(pool: Any, tmp_path: Path) -> None:
    with pool(count=2, retries=1, seconds=2) as workers:
        start = time.monotonic()
        found = outcomes(workers, sleep, (0.0,), (600.0,))
        spent = time.monotonic() - start
    assert found["task-0"] == 0 and "longer than 2 s" in found["task-1"].why
    assert 4 <= spent < 12


def test_a_mistake_of_the_user_s_ends_everything(pool: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not like this") as refused, pool(count=1) as workers:
        outcomes(workers, refuse, ())
    assert refused.value.mend == "like that"


def test_tasks_of_one_key_run_one_at_a_time(pool: Any, tmp_path: Path) -> None:
    (tmp_path / "running").mkdir()
    with pool(count=2) as workers:
        assert set(outcomes(workers, alone, *[(str(tmp_path / "running"),)] * 6, key="device").values()) == {1}


def test_workers_end_with_the_pool(pool: Any, tmp_path: Path) -> None:
    with pool(count=1) as workers:
        pid = outcomes(workers, os.getpid, ())["task-0"]
        workers.submit(Task("task-1", sleep, (600.0,)))
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


_PARENT = """
import os, sys, time
from pathlib import Path
from hwnas.workers import open_pool
from hwnas.workers.pool import Task
from hwnas.workers.settings import Ray, Workers

def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    with open_pool(Workers(count=1), Ray(), Path("logs"), cores=1) as pool:
        pool.submit(Task("task", work, (sys.argv[1],)))
        pool.next()
"""


def test_workers_end_with_their_killed_parent(tmp_path: Path) -> None:
    """One that outlives it would hold its run's lock."""
    (tmp_path / "parent.py").write_text(_PARENT)
    parent = subprocess.Popen([sys.executable, "parent.py", str(tmp_path / "pid")], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    while Path(f"/proc/{child}").exists() and "(zombie)" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("share", "devices"),
    [
        (1, [[0], [1], [2]]),
        (0.5, [[0], [0], [1]]),
        (0.4, [[0], [0], [1]]),
        (0.75, [[0], [1], [2]]),
        (2, [[0, 1], [2, 3]]),
    ],
)
def test_gpus_are_shared_as_far_as_they_go(share: float, devices: list[list[int]]) -> None:
    assert [list(gpus_of(number, share)) for number in range(len(devices))] == devices


def never_ready() -> None:
    raise RuntimeError("no such data")


def test_workers_that_do_not_start_cost_no_task(pool: Any, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="workers do not start: RuntimeError: no such data"), pool(count=2) as workers:
        workers.submit(Task("task-0", double, (1,), setup=(never_ready, ())))
        workers.next()
