"""What workers give and cost: figures of docs/results/workers.md.

    python benchmarks/workers.py speed            # 40 small trainings by one worker and by two
    python benchmarks/workers.py driver           # the driver's own cost a trial, of 10,000 simulated ones
    python benchmarks/workers.py journal          # 1,000,000 lines opened

On a machine with other work, the wall clock of `speed` says little. What two workers would reach on their own cores is
then in the two things that it depends on: the share of time that they have no work, and the processor's seconds, which
grow where two trainings get in each other's way (memory bandwidth, caches).
"""

import argparse
import json
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic, perf_counter, process_time
from types import SimpleNamespace
from typing import Any, NamedTuple

from hwnas.core.arch import Arch
from hwnas.core.config import validate
from hwnas.core.journal import Journal
from hwnas.core.plugins import load
from hwnas.core.seeds import derive
from hwnas.run.config import resolve
from hwnas.run.judging import Post, judge, pool_of
from hwnas.search.ask_tell import propose
from hwnas.search.judges import Judges, Question, Verdict
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices
from hwnas.workers.pool import Task

TRAININGS = 40
SETS = ("compute.threads=1", "compute.device=cpu", "data.limit=400", "space.resolution=16")


class Run(NamedTuple):
    """Of 40 trainings: `wall` seconds from the first question to the last answer; `busy`, that the workers spent in
    them, and `cpu`, that the processor did, both of all workers together."""

    wall: float
    busy: float
    cpu: float


def speed(folder: Path, repeats: int) -> None:
    """Alternating, so that a busy neighbour meets both."""
    for number in range(repeats):
        one, two = (trained(workers, folder / f"{number}-{workers}") for workers in (1, 2))
        idle = [1 - run.busy / (workers * run.wall) for workers, run in ((1, one), (2, two))]
        print(f"one worker {one.wall:.1f} s, two {two.wall:.1f} s: {one.wall / two.wall:.2f} times as fast")
        print(f"  without work: {idle[0]:.1%} of one worker's time, {idle[1]:.1%} of two workers'")
        print(f"  the processor's seconds: {one.cpu:.1f} and {two.cpu:.1f}")
        own = 2 * (1 - idle[1]) / (1 - idle[0]) * one.cpu / two.cpu
        print(f"  were both cores ours: {own:.2f} times as fast", flush=True)


def trained(workers: int, folder: Path) -> Run:
    """By workers that are set up."""
    config = resolve({}, None, (*SETS, f"workers.count={workers}"))
    space, rng = Mobile(MobileSettings(resolution=16), channels=1, classes=10), Random(0)
    post = Post.of(config, "training", "early-stop", '{"epochs": 2}', TRAININGS, folder)
    with pool_of(config, folder) as pool:
        for number in range(workers):
            pool.submit(Task(f"warm-{number}", measured, (post, space.random(rng)), setup=post.setup))
        for _ in range(workers):
            pool.next()
        start = monotonic()
        for number in range(TRAININGS):
            pool.submit(Task(f"trial-{number}", measured, (post, space.random(rng)), setup=post.setup))
        spent = [pool.next()[1] for _ in range(TRAININGS)]
        return Run(monotonic() - start, sum(busy for busy, _ in spent), sum(cpu for _, cpu in spent))


def measured(post: Post, arch: Arch) -> tuple[float, float]:
    """In a worker: seconds of a training, and the processor's."""
    start, cpu = monotonic(), process_time()
    judge(post, arch, None)
    return monotonic() - start, process_time() - cpu


class AtOnce(Judges):
    """Two workers that take no time. `samples`: of this process's memory, in MiB."""

    workers = 2

    def __init__(self) -> None:
        self.waiting: list[Question] = []
        self.samples: list[float] = []
        self.answered = 0

    def submit(self, question: Question) -> None:
        self.waiting.append(question)

    def next(self) -> tuple[Question, Verdict]:
        self.answered += 1
        if self.answered % 1000 == 0:
            self.samples.append(resident_mib())
        question = self.waiting.pop()  # the last first: every other answer comes before its turn
        return question, Verdict(derive(0, *question.arch) / 2**63, 0.0)


def driver(folder: Path, trials: int) -> None:
    """Ask, judge, journal (flushed to disk), tell: everything but the training."""
    widths = [7] * 20
    problem = paper_problem(PaperSpace(widths, one_operator_an_option(widths)), prices(140, 1), 0.3)
    error = SimpleNamespace(standard_error=lambda accuracy: 0.01)
    estimator: Any = SimpleNamespace(prepare=lambda: None, epochs=lambda queries: None)
    for name in ("random", "regularized-evolution"):
        means: Any = SimpleNamespace(data=SimpleNamespace(search=error), checkpoints=folder / name)
        plugin = load("strategies", name)
        strategy, judges = plugin(problem, validate(plugin.Settings, {"trials": trials}, "strategy")), AtOnce()
        start, busy = perf_counter(), process_time()
        propose(strategy, estimator, means, problem, Journal(folder / f"{name}.jsonl"), "trial", judges)
        each_ms, busy_ms = (1000 * (t / trials) for t in (perf_counter() - start, process_time() - busy))
        memory = f"{judges.samples[0]:.0f} MiB after 1,000, {judges.samples[-1]:.0f} after {trials:,}"
        print(f"{name}: {each_ms:.2f} ms a trial, {busy_ms:.2f} of them the processor's; {memory}", flush=True)
    print(f"one flush to this disk: {flush_ms(folder):.2f} ms")


def flush_ms(folder: Path) -> float:
    journal, start = Journal(folder / "flush.jsonl"), perf_counter()
    for number in range(200):
        journal.append("trial", number=number)
    return (perf_counter() - start) / 200 * 1000


def journal(folder: Path, lines: int) -> None:
    path, record = folder / "long.jsonl", {"kind": "trial", "arch": [3, 1, 2] * 7, "predicted_p95": 0.0123456789}
    with path.open("w") as file:
        for number in range(lines):
            file.write(json.dumps(record | {"accuracy": number / lines, "spent_seconds": 12.5}) + "\n")
    start, busy = perf_counter(), process_time()
    found = Journal(path)
    seconds, busy = perf_counter() - start, process_time() - busy
    assert len(found.records) == lines
    mib = path.stat().st_size / 2**20
    opened = f"opened in {seconds:.1f} s, {busy:.1f} of them the processor's"
    print(f"{lines:,} lines, {mib:.0f} MiB, {opened}; {resident_mib():.0f} MiB held")


def resident_mib() -> float:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "driver", "journal"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hwnas-workers-") as name:
        does: dict[str, Callable[[], None]] = {
            "speed": lambda: speed(Path(name), options.repeats),
            "driver": lambda: driver(Path(name), options.trials),
            "journal": lambda: journal(Path(name), options.lines),
        }
        does[options.what]()


if __name__ == "__main__":
    main()
