"""Workers that are Ray actors, on this machine or on a cluster's nodes. The extra `hwnas[ray]`."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hwnas.core.errors import BadInput, Unavailable
from hwnas.workers.duty import perform, settle
from hwnas.workers.pool import Gone, Place, Worker
from hwnas.workers.settings import Workers

try:
    import ray  # type: ignore[import-not-found]
    from ray.exceptions import RayError  # type: ignore[import-not-found]
except ModuleNotFoundError as missing:
    raise Unavailable("ray.address needs the package ray", "pip install 'hwnas[ray]'") from missing


class Actor:
    """On its node, which sees the head's folder by the same path."""

    def __init__(self, memory_mib: int | None, folder: str) -> None:
        self.memory_mib, self.folder = memory_mib, folder

    def settle(self) -> Any:
        if not Path(self.folder).is_dir():
            return BadInput(f"a node of the cluster has no {self.folder}", "run in a folder that all nodes share")
        os.chdir(self.folder)
        settle(self.memory_mib)
        return None

    def perform(self, function: Callable[..., Any], arguments: tuple[Any, ...], log: Path) -> Any:
        return perform(function, arguments, log)


class OnNode(Worker):
    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.settled = actor.settle.remote()
        self.answer: Any = None

    def give(self, function: Callable[..., Any], arguments: tuple[Any, ...], log: Path) -> None:
        self.answer = self.actor.perform.remote(function, arguments, log)

    def take(self) -> Any:
        try:
            trouble, answer = ray.get([self.settled, self.answer])
        except RayError as error:
            raise Gone(_ending(error)) from None
        return trouble or answer

    def kill(self) -> None:
        ray.kill(self.actor, no_restart=True)


class OnRay(Place):
    """Raises Unavailable when no cluster answers at the address."""

    def __init__(self, settings: Workers, address: str, cores: int) -> None:
        self.settings, self.cores = settings, cores
        try:
            _knock(address)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise Unavailable(
                f"no Ray cluster answers at {address}: {' '.join(str(error).split())[:200]}",
                "ray start --head on a machine; ray.address=local is one of the run's own",
            ) from error

    def hire(self, number: int) -> OnNode:
        """It may have to wait until the cluster has room for it."""
        resources = {"num_cpus": self.cores, "num_gpus": self.settings.gpus}
        actor = ray.remote(Actor).options(**resources, max_restarts=0, max_task_retries=0)
        return OnNode(actor.remote(self.settings.memory_mib, str(Path.cwd())))

    def wait(self, workers: Sequence[OnNode], seconds: float | None) -> list[OnNode]:
        by_answer = {worker.answer: worker for worker in workers}
        ended, _ = ray.wait(list(by_answer), timeout=seconds)
        return [by_answer[answer] for answer in ended]

    def close(self) -> None:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").partition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _ending(error: Exception) -> str:
    """Ray's first sentence, and what it knows of the process's end."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    details = next((line for line in lines if line.startswith("The actor is dead because")), "")
    return f"{type(error).__name__}: {lines[0] if lines else ''} {details}"[:300].strip()
