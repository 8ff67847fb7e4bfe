"""Trains a random sample fully, and asks every estimator about the same networks.

The truth is the search split's accuracy: no test image is touched. Every answer is a line of the journal, so the same
command goes on from wherever it was killed, and so it does with more networks or other estimators. What watches
learning curves finds those of the truth on disk: the training is the same, and its cost is counted as if repeated.
"""

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
from hwnas.run.problem import data_of, latency_of, problem_of, space_of
from hwnas.search.estimators import Estimator, Means
from hwnas.spaces import Space
from hwnas.training.compute import Device

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
        for plan in plans:
            try:
                answers.append(_answers(plan, means, archs, directory.journal))
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


def _answers(plan: Plan, means: Means, archs: list[Arch], journal: Journal) -> Answers:
    key = {"estimator": plan.label, "settings": plan.digest}
    if any(journal.last("answer", **key, arch=list(arch)) is None for arch in archs):
        _ask(plan, means, archs, journal, key)
    asked, ready = [journal.last("answer", **key, arch=list(arch)) for arch in archs], journal.last("ready", **key)
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


def _ask(plan: Plan, means: Means, archs: list[Arch], journal: Journal, key: Record) -> None:
    start = monotonic()
    estimator: Estimator = load("estimators", plan.plugin)(means, plan.validated())
    if estimator.lessons > len(archs) - 2:
        raise BadInput(f"{estimator.lessons} networks to learn from leave too few to judge", "--networks more")
    estimator.prepare()
    if journal.last("ready", **key) is None:
        setup = estimator.epochs(0) or 0
        journal.append("ready", **key, lessons=estimator.lessons, epochs=setup, spent_seconds=monotonic() - start)
    done = sum(journal.last("answer", **key, arch=list(arch)) is not None for arch in archs)
    with Progress(f"calibrate: {plan.label}", len(archs), done=done) as progress:
        for number, arch in enumerate(archs):
            if journal.last("answer", **key, arch=list(arch)) is not None:
                continue
            start, found, epochs = monotonic(), estimator.seconds_found, estimator.epochs(number) or 0
            accuracy = estimator.accuracy(arch)
            facts = {
                "accuracy": accuracy,
                "interval_90": estimator.interval_90(arch),
                "epochs": (estimator.epochs(number + 1) or 0) - epochs,
                "spent_seconds": monotonic() - start + estimator.seconds_found - found,
            }
            journal.append("answer", **key, arch=list(arch), **facts)
            progress.advance()
