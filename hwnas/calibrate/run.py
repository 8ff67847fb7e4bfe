"""Trains a random sample fully, and asks every estimator about the same networks.

The truth is the search split's accuracy: no test image is touched. Every answer is a line of the journal, so the same
command goes on from wherever it was killed, and so it does with more networks or other estimators. What watches
learning curves finds those of the truth on disk: the training is the same, and its cost is counted as if repeated.
Workers train side by side; an estimator that learns from its questions is asked in this process, one by one.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from hwnas.calibrate.agreement import Agreement, agreement
from hwnas.calibrate.plans import TRUTH, Plan
from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal, Record
from hwnas.core.plugins import load
from hwnas.core.progress import Progress, say
from hwnas.core.seeds import stream
from hwnas.run.config import RunConfig
from hwnas.run.directory import RunDirectory
from hwnas.run.judging import Post, estimator_at, pool_of
from hwnas.run.problem import data_of, latency_of, problem_of, space_of
from hwnas.search.estimators import Estimator, Means
from hwnas.spaces import Space
from hwnas.training.compute import Device
from hwnas.workers.pool import Failure, Pool, Task

_TRIES = 100


@dataclass(frozen=True)
class Answers:
    """Of one estimator, in the sample's order. The first `lessons` were trained fully to learn from, and judge nothing.

    `setup_seconds`, `setup_epochs`: before the first question."""

    plan: Plan
    accuracies: list[float]
    intervals: list[tuple[float, float] | None]
    seconds: list[float]
    epochs: list[float]
    lessons: int
    setup_seconds: float
    setup_epochs: float

    @property
    def seconds_each(self) -> float:
        """Of one network, when it has learned."""
        judged = self.seconds[self.lessons :]
        return sum(judged) / len(judged)

    @property
    def epochs_each(self) -> float:
        judged = self.epochs[self.lessons :]
        return sum(judged) / len(judged)


@dataclass(frozen=True)
class Calibrated:
    """`refused`: label → why an estimator does not serve here."""

    config: RunConfig
    path: Path
    space: Space
    archs: list[Arch]
    truth: Answers
    estimators: list[Answers]
    refused: dict[str, str]

    def agreement(self, answers: Answers) -> Agreement:
        a = answers.lessons
        return agreement(answers.accuracies[a:], self.truth.accuracies[a:], answers.intervals[a:])


def calibrate(config: RunConfig, plans: list[Plan], networks: int, within: bool, out: Path | None) -> Calibrated:
    """`within`: only networks that keep the budget, by the target's table; else any of the space.

    Raises BadInput for a directory of another configuration, or a space of too few networks.
    """
    directory = RunDirectory(out or default_directory(config), config)
    try:
        device = Device(config.compute)
        data = data_of(config)
        space = space_of(config, data.channels, data.classes)
        archs = sample(config, space, networks, within)
        folder = directory.checkpoints
        means = Means(space, data, config.training, device, config.seed, networks, folder)
        answers, refused = [], dict[str, str]()
        with pool_of(config, directory.path) if config.workers.count else nullcontext() as pool:
            examiner = _Examiner(config, means, archs, directory.journal, pool)
            for plan in plans:
                try:
                    answers.append(examiner.answers(plan))
                except BadInput as error:
                    if plan.plugin == TRUTH:
                        raise
                    refused[plan.label] = error.what
                    say(f"calibrate: {plan.label}: {error.what}")
    finally:
        directory.close()
    return Calibrated(config, directory.path, space, archs, answers[0], answers[1:], refused)


def default_directory(config: RunConfig) -> Path:
    return Path("runs") / f"calibrate-{config.space.name}-{config.data.name}-{config.digest()[:8]}".replace("/", "_")


def sample(config: RunConfig, space: Space, networks: int, within: bool) -> list[Arch]:
    """Random ones that compute different things; a smaller sample is the beginning of a larger one."""
    rng = stream(config.seed, "calibrate")
    problem = problem_of(config, space, latency_of(config, space)) if within else None
    found: dict[object, Arch] = {}
    for _ in range(_TRIES * networks):
        arch = problem.sample(rng) if problem else space.random(rng)
        if space.valid(arch):
            found.setdefault(space.function(arch), arch)
        if len(found) == networks:
            return list(found.values())
    raise BadInput(f"the space has hardly {networks} networks that differ, {len(found)} were found", "--networks fewer")


@dataclass(frozen=True)
class _Examiner:
    """Asks about the sample. `pool`: the workers, where there are any."""

    config: RunConfig
    means: Means
    archs: list[Arch]
    journal: Journal
    pool: Pool | None

    def answers(self, plan: Plan) -> Answers:
        key = {"estimator": plan.label, "settings": plan.digest}
        if any(self._known(key, arch) is None for arch in self.archs):
            self._ask(plan, key)
        asked, ready = [self._known(key, arch) for arch in self.archs], self.journal.last("ready", **key)
        assert ready is not None
        records = [record for record in asked if record is not None]
        return Answers(
            plan,
            [record["accuracy"] for record in records],
            [record["interval_90"] and tuple(record["interval_90"]) for record in records],
            [record["spent_seconds"] for record in records],
            [record["epochs"] for record in records],
            ready["lessons"],
            ready["spent_seconds"],
            ready["epochs"],
        )

    def _known(self, key: Record, arch: Arch) -> Record | None:
        return self.journal.last("answer", **key, arch=list(arch))

    def _ask(self, plan: Plan, key: Record) -> None:
        start, networks = monotonic(), len(self.archs)
        estimator: Estimator = load("estimators", plan.plugin)(self.means, plan.validated())
        if estimator.lessons > networks - 2:
            raise BadInput(f"{estimator.lessons} networks to learn from leave too few to judge", "--networks more")
        estimator.prepare()
        if self.journal.last("ready", **key) is None:
            facts = {"lessons": estimator.lessons, "epochs": estimator.epochs(0) or 0}
            self.journal.append("ready", **key, **facts, spent_seconds=monotonic() - start)
        left = {arch: number for number, arch in enumerate(self.archs) if self._known(key, arch) is None}
        if self.pool is None or estimator.learns:
            found = ((arch, asked(estimator, arch, number)) for arch, number in left.items())
        else:
            found = self._asked_elsewhere(plan, left, self.pool)
        with Progress(f"calibrate: {plan.label}", networks, done=networks - len(left)) as progress:
            for arch, facts in found:
                self.journal.append("answer", **key, arch=list(arch), **facts)
                progress.advance()

    def _asked_elsewhere(self, plan: Plan, left: dict[Arch, int], pool: Pool) -> Iterator[tuple[Arch, Record]]:
        """As they come. Raises BadInput in the end for a network that no worker can judge."""
        settings = plan.validated().model_dump_json()
        post = Post.of(self.config, "training", plan.plugin, settings, self.means.trials, self.means.checkpoints)
        name = plan.label.replace(" ", "-").replace("/", "-")
        for arch, number in left.items():
            pool.submit(Task(f"{name}-{number}", _asked_at, (post, arch, number), setup=post.setup))
        trouble = None
        for _ in left:
            task, outcome = pool.next()
            if isinstance(outcome, Failure):
                trouble = BadInput(f"{task.name}: {outcome.why}", f"see {outcome.log}, or take another --seed")
            else:
                yield task.arguments[1], outcome
        if trouble is not None:
            raise trouble


def asked(estimator: Estimator, arch: Arch, number: int) -> Record:
    """Its answer to a question, after so many others, as the journal keeps it."""
    start, found, epochs = monotonic(), estimator.seconds_found, estimator.epochs(number) or 0
    accuracy = estimator.accuracy(arch)
    return {
        "accuracy": accuracy,
        "interval_90": estimator.interval_90(arch),
        "epochs": (estimator.epochs(number + 1) or 0) - epochs,
        "spent_seconds": monotonic() - start + estimator.seconds_found - found,
    }


def _asked_at(post: Post, arch: Arch, number: int) -> Record:
    return asked(estimator_at(post), arch, number)
