"""What workers give and cost: figures of docs/results/workers.md.

    python benchmarks/workers.py speed            # 40 small trainings by one worker and by two
    python benchmarks/workers.py driver           # the driver's own cost a trial, of 10,000 simulated ones
    python benchmarks/workers.py journal          # 1,000,000 lines opened

`speed` counts from the first question to the last answer, workers started; its last line is what the same trainings
give as two processes that share nothing but the machine: what it allows at best.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic, perf_counter, process_time
from types import SimpleNamespace
from typing import Any

from hwnas.core.config import validate
from hwnas.core.journal import Journal
from hwnas.core.plugins import load
from hwnas.core.seeds import derive
from hwnas.run.config import RunConfig, resolve
from hwnas.run.judging import Post, judge, pool_of
from hwnas.search.ask_tell import propose
from hwnas.search.judges import Judges, Question, Verdict
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices
from hwnas.workers.pool import Task

TRAININGS = 40
SETS = ("compute.threads=1", "compute.device=cpu", "data.limit=800", "space.resolution=16")


def speed(folder: Path, repeats: int) -> None:
    """Alternating, so that a busy neighbour meets both."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(repeats):
        for workers in seconds:
            config = resolve({}, None, (*SETS, f"workers.count={workers}"))
            seconds[workers].append(trained(config, folder / f"{number}-{workers}"))
            print(f"{workers} workers: {seconds[workers][-1]:.1f} s", flush=True)
    pairs = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    print("two over one:", ", ".join(f"{ratio:.2f}" for ratio in pairs))
    alone = [cores(1) for _ in range(repeats)]
    beside = [cores(2) for _ in range(repeats)]
    best = [2 * a / b for a, b in zip(alone, beside, strict=True)]
    print("two processes over one, nothing shared:", ", ".join(f"{ratio:.2f}" for ratio in best))


def trained(config: RunConfig, folder: Path) -> float:
    """Seconds of all trainings, by workers that are set up."""
    space, rng = Mobile(MobileSettings(resolution=16), channels=1, classes=10), Random(0)
    post = Post.of(config, "training", "early-stop", '{"epochs": 2}', TRAININGS, folder)
    with pool_of(config, folder) as pool:
        for number in range(config.workers.count):
            pool.submit(Task(f"warm-{number}", judge, (post, space.random(rng), None), setup=post.setup))
        for _ in range(config.workers.count):
            pool.next()
        start = monotonic()
        for number in range(TRAININGS):
            pool.submit(Task(f"trial-{number}", judge, (post, space.random(rng), None), setup=post.setup))
        for _ in range(TRAININGS):
            pool.next()
        return monotonic() - start


_TRAINING = """
import sys
from pathlib import Path
from random import Random
from hwnas.run.config import resolve
from hwnas.run.judging import Post, estimator_at, judge
from hwnas.spaces.mobile import Mobile, MobileSettings
from time import monotonic
sets = sys.argv[1:]
post = Post.of(resolve({}, None, tuple(sets)), "training", "early-stop", '{"epochs": 2}', 8, Path("unused"))
space, rng = Mobile(MobileSettings(resolution=16), channels=1, classes=10), Random(0)
judge(post, space.random(rng), None)
start = monotonic()
for _ in range(8):
    judge(post, space.random(rng), None)
print(monotonic() - start)
"""


def cores(processes: int) -> float:
    """Seconds of eight trainings in each of so many processes at once."""
    command = [sys.executable, "-c", _TRAINING, *SETS]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(processes)]
    return max(float(process.communicate()[0]) for process in running)


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
