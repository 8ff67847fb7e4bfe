"""Who does which task when, and what happens to one that fails. Places differ only in how a worker is reached."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from hwnas.core.errors import HwnasError, Unavailable
from hwnas.core.progress import warn
from hwnas.workers.duty import Crash, ready
from hwnas.workers.settings import Workers

Setup = tuple[Callable[..., None], tuple[Any, ...]]

_STILLBORN = 3
"""Workers in a row that do not start: there is something wrong with all of them."""


@dataclass(frozen=True)
class Task:
    """`function`: importable in a worker, as its arguments' classes are. `name`: no two tasks have one; its log's too.
    `key`: of two tasks with the same one, one runs at a time. `setup`: what a worker does once before all tasks with
    the same one, beyond their limit of time."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    key: Hashable = None
    setup: Setup = (ready, ())


@dataclass(frozen=True)
class Failure:
    """Of every attempt; `why` and `log` are the last one's."""

    why: str
    log: Path


class Gone(Exception):
    """A worker's process ended in the middle of its task."""


class Worker(ABC):
    """One process."""

    @abstractmethod
    def give(self, function: Callable[..., Any], arguments: tuple[Any, ...], log: Path) -> None: ...

    @abstractmethod
    def take(self) -> Any:
        """What came of it, once it ended (`duty.perform`). Raises Gone."""

    @abstractmethod
    def kill(self) -> None: ...


class Place(ABC):
    """Where workers live."""

    @abstractmethod
    def hire(self, number: int) -> Worker:
        """The worker of that number, from 0. Raises Unavailable when there is no room for one."""

    @abstractmethod
    def wait(self, workers: Sequence[Any], seconds: float | None) -> list[Any]:
        """Those that ended their task or are gone; none when nothing happened for so long."""

    @abstractmethod
    def close(self) -> None: ...


@dataclass
class _Job:
    """`task`: None while the worker sets up."""

    task: Task | None
    setup: Setup
    log: Path
    started: float


class Pool:
    """Use as a context manager: no worker outlives it. Workers are hired when there is work for them; while one starts,
    no task is in its hands."""

    def __init__(self, place: Place, settings: Workers, logs: Path) -> None:
        self.place, self.settings, self.logs = place, settings, logs
        self._waiting: deque[Task] = deque()
        self._busy: dict[Worker, _Job] = {}
        self._idle: dict[Worker, Setup] = {}
        self._numbers: dict[Worker, int] = {}
        self._attempts: dict[str, int] = {}
        self._stillborn = 0
        self._ended: deque[tuple[Task, Any]] = deque()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in list(self._numbers):
            self._dismiss(worker)
        self.place.close()

    @property
    def workers(self) -> int:
        return self.settings.count

    def submit(self, task: Task) -> None:
        self._waiting.append(task)
        self._start()

    def next(self) -> tuple[Task, Any]:
        """The next that ends, with its value or a Failure. Raises what a task raised of ours (what else was submitted
        is then forgotten), and Unavailable when workers do not start."""
        while not self._ended:
            assert self._waiting or self._busy, "nothing was submitted"
            self._start()
            for worker in self.place.wait(list(self._busy), self._patience()):
                self._end(worker)
            for worker, job in list(self._busy.items()):
                if self._left(job) <= 0:
                    self._failed(worker, self._too_long(job))
        self._start()
        return self._ended.popleft()

    def _start(self) -> None:
        """Give what waits to whoever is free and set up for it."""
        running = {job.task.key for job in self._busy.values() if job.task}
        starting, short = sum(job.task is None for job in self._busy.values()), 0
        for task in list(self._waiting):
            if task.key is not None and task.key in running:
                continue
            running.add(task.key)
            worker = next((worker for worker, setup in self._idle.items() if setup == task.setup), None)
            if worker is not None:
                self._waiting.remove(task)
                self._give(worker, task, task.setup, task.name)
                continue
            short += 1
            if short > starting:
                if (worker := self._spare()) is None:
                    return
                self._give(worker, None, task.setup, f"worker-{self._numbers[worker]}")
                starting += 1

    def _spare(self) -> Worker | None:
        """One that was set up for something else, or a new one; None when all have work."""
        if self._idle:
            return next(iter(self._idle))
        if len(self._numbers) == self.workers:
            return None
        number = min(set(range(self.workers)) - set(self._numbers.values()))
        worker = self.place.hire(number)
        self._numbers[worker] = number
        return worker

    def _give(self, worker: Worker, task: Task | None, setup: Setup, name: str) -> None:
        self._idle.pop(worker, None)
        job = self._busy[worker] = _Job(task, setup, self.logs / f"{name}.log", monotonic())
        function, arguments = setup if task is None else (task.function, task.arguments)
        worker.give(function, arguments, job.log)

    def _end(self, worker: Worker) -> None:
        try:
            outcome = worker.take()
        except Gone as gone:
            self._failed(worker, str(gone))
            return
        if isinstance(outcome, Crash):
            self._failed(worker, outcome.why)  # what its process has left is not trusted
            return
        if isinstance(outcome, HwnasError):
            self._forget()
            raise outcome
        job = self._busy.pop(worker)
        self._idle[worker] = job.setup
        self._stillborn = 0
        job.log.unlink(missing_ok=True)
        if job.task is not None:
            self._attempts.pop(job.task.name, None)
            self._ended.append((job.task, outcome))

    def _failed(self, worker: Worker, why: str) -> None:
        job = self._busy.pop(worker)
        self._dismiss(worker)
        if job.task is None:
            self._stillborn += 1
            warn(f"a worker did not start: {why}")
            if self._stillborn == _STILLBORN:
                raise Unavailable(f"workers do not start: {why}", f"see {job.log}; the same command goes on from here")
            return
        attempts = self._attempts[job.task.name] = self._attempts.get(job.task.name, 0) + 1
        if attempts <= self.settings.retries:
            warn(f"{job.task.name}: {why}; attempt {attempts + 1} of {self.settings.retries + 1}")
            self._waiting.appendleft(job.task)
        else:
            warn(f"{job.task.name} failed: {why}; its log is {job.log}")
            self._ended.append((job.task, Failure(why, job.log)))

    def _forget(self) -> None:
        for worker in self._busy:
            self._dismiss(worker)
        self._busy.clear()
        self._waiting.clear()
        self._ended.clear()

    def _dismiss(self, worker: Worker) -> None:
        del self._numbers[worker]
        worker.kill()

    def _patience(self) -> float | None:
        """Seconds until the next one is overdue; None: never."""
        left = min(map(self._left, self._busy.values()))
        return None if left == inf else max(0.0, left)

    def _left(self, job: _Job) -> float:
        limit = self.settings.start_seconds if job.task is None else self.settings.seconds
        return inf if limit is None else job.started + limit - monotonic()

    def _too_long(self, job: _Job) -> str:
        if job.task is None:
            return f"it took longer than {self.settings.start_seconds:g} s (workers.start_seconds)"
        return f"it took longer than {self.settings.seconds:g} s (workers.seconds)"
