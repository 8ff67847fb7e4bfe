"""An estimator in workers elsewhere: each builds one from the configuration, and keeps it from question to question."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import NamedTuple

import torch

from hwnas.core.arch import Arch
from hwnas.core.errors import Unavailable
from hwnas.core.machine import cores
from hwnas.core.plugins import load
from hwnas.run.config import RunConfig
from hwnas.run.problem import data_of, space_of
from hwnas.search.estimators import Estimator, Means
from hwnas.search.judges import Judges, Question, Verdict, answer
from hwnas.search.trial import Upbringing
from hwnas.spaces import Space
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.workers import open_pool
from hwnas.workers.local import gpus_of
from hwnas.workers.pool import Failure, Pool, Setup, Task
from hwnas.workers.settings import Ray, Workers


@dataclass(frozen=True)
class Post:
    """What a worker needs to know to build its estimator; texts are JSON. `section`: whose recipe is the full one."""

    config: str
    section: str
    plugin: str
    settings: str
    trials: int
    folder: Path

    @classmethod
    def of(cls, config: RunConfig, section: str, plugin: str, settings: str, trials: int, folder: Path) -> "Post":
        return cls(at_work(config).model_dump_json(), section, plugin, settings, trials, folder.absolute())

    @property
    def setup(self) -> Setup:
        return settle, (self,)


def at_work(config: RunConfig) -> RunConfig:
    """As a worker sees it: with cores of its own, and no workers."""
    compute = config.compute.model_copy(update={"threads": threads(config)})
    return config.model_copy(update={"compute": compute, "workers": Workers(gpus=config.workers.gpus), "ray": Ray()})


def threads(config: RunConfig) -> int:
    """Of one worker. A cluster's cores are not known here: one each, unless it is said."""
    shared = 1 if config.ray.address is not None else max(1, cores() // max(1, config.workers.count))
    return config.compute.threads or shared


def pool_of(config: RunConfig, folder: Path) -> Pool:
    """Raises Unavailable where this machine has fewer GPUs than the workers are to have."""
    workers, here = config.workers, torch.cuda.device_count()
    if workers.gpus and config.ray.address is None and (needed := gpus_of(workers.count - 1, workers.gpus).stop) > here:
        what = f"{workers.count} workers with {workers.gpus:g} GPUs each need {needed}, and here are {here}"
        raise Unavailable(what, "fewer --workers, or --set workers.gpus=0")
    return open_pool(workers, config.ray, folder.absolute() / "logs", threads(config))


class Pooled(Judges):
    """Use as a context manager: no worker outlives it. `kind`: of the trials."""

    def __init__(self, config: RunConfig, folder: Path, post: Post, kind: str) -> None:
        self.pool, self.post, self.kind = pool_of(config, folder), post, kind
        self.workers = self.pool.workers
        self.asked: dict[str, Question] = {}

    def __enter__(self) -> "Pooled":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.pool.__exit__(kind, error, at)

    def submit(self, question: Question) -> None:
        name = f"{self.kind}-{question.number}"
        self.asked[name] = question
        # Of equal networks, trained alike, the second finds what the first left on disk.
        key = question.arch if question.upbringing is None else None
        arguments = (self.post, question.arch, question.upbringing)
        self.pool.submit(Task(name, judge, arguments, key, self.post.setup))

    def next(self) -> tuple[Question, Verdict]:
        task, outcome = self.pool.next()
        question = self.asked.pop(task.name)
        if isinstance(outcome, Failure):
            return question, Verdict(0.0, 0.0, outcome.why, f"logs/{outcome.log.name}")
        return question, Verdict(*outcome)


def judge(post: Post, arch: Arch, upbringing: Upbringing | None) -> tuple[float, float]:
    """In a worker. The answer, and seconds."""
    estimator, start = estimator_at(post), monotonic()
    return answer(estimator, arch, upbringing), monotonic() - start


def settle(post: Post) -> None:
    """In a worker, before the first question."""
    estimator_at(post)


@lru_cache(maxsize=1)
def estimator_at(post: Post) -> Estimator:
    """What it prepares, the head has prepared already: it lies in the checkpoints."""
    site = _site(post.config)
    plugin = load("estimators", post.plugin)
    recipe = getattr(site.config, post.section)
    means = Means(site.space, site.data, recipe, site.device, site.config.seed, post.trials, post.folder)
    estimator = plugin(means, plugin.Settings.model_validate_json(post.settings))
    estimator.prepare()
    return estimator


class _Site(NamedTuple):
    config: RunConfig
    device: Device
    data: Data
    space: Space


@lru_cache(maxsize=1)
def _site(text: str) -> _Site:
    config = RunConfig.model_validate_json(text)
    device, data, share = Device(config.compute), data_of(config), config.workers.gpus
    if device.torch.type == "cuda" and 0 < share < 1:
        torch.cuda.set_per_process_memory_fraction(share)  # one trial's excess is no neighbour's
    return _Site(config, device, data, space_of(config, data.channels, data.classes))
