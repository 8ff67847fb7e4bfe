"""kill -9 at random moments over profile, search, train and export; the same command must always resume.

    python benchmarks/kill.py --kills 200        (nightly: about 40 minutes of one core)

Small runs, two strategies by two seeds, are done without interruption, then again and again with kills. After every
kill the directory must be readable, and keep every turn, trial and epoch that it had recorded. Each run must end in the
same decisions (the journal's digest, without times and measurements), the same result and the same weights. Exits 1
when one does not. A quarter of the kills hit profiling, which has a table
of its own; the others share the uninterrupted run's table, because another table is another search.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from hwnas.core.files import sha256
from hwnas.core.journal import Journal
from hwnas.latency.table import load_table
from hwnas.run.listing import listed
from hwnas.training import checkpoint

CONFIG = Path(__file__).parent / "configs" / "kill.yaml"
STRATEGIES: dict[str, tuple[str, ...]] = {
    "proxyless": (),
    "spos": ("--set", "strategy.population=8", "--set", "strategy.generations=3"),
}
Variant = tuple[str, int]
"""Strategy and seed."""
STAGES = ("start", "profile", "search", "train", "export", "done")
SEEDS = (0, 1)
KILLED_IN = STAGES[:1] + STAGES[2:5]
"""Of a run, one after another; profiling has its own."""
KILLS_A_RUN = 12
_POLL_SECONDS = 0.02
MEASURED = ("_ms", "_ms_p95", "_seconds", "versions", "within_budget")
"""Fields of a result that differ between equal runs."""


@dataclass
class Tally:
    """`again`: by stage, the most recorded epochs that one kill made the run train again. `unreadable`: after one."""

    kills: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.failures.append(what)
            print(f"FAILED: {what}", file=sys.stderr)


def start(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "hwnas", *arguments, "--config", str(CONFIG), "--quiet"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def finish(folder: Path, *arguments: str) -> None:
    if start(folder, *arguments).wait() != 0:
        sys.exit(f"hwnas {' '.join(arguments)} failed:\n{(folder / 'log').read_text()[-2000:]}")


def run_arguments(variant: Variant) -> tuple[str, ...]:
    strategy, seed = variant
    return ("run", "--out", "run", "--strategy", strategy, "--seed", str(seed), *STRATEGIES[strategy])


def profile_stage(folder: Path) -> str:
    turns = folder / "latency_tables" / ".cpu.turns.jsonl"
    return "profile" if turns.exists() and turns.stat().st_size else "start"


def run_stage(folder: Path) -> str:
    """Where a run is, by its journal."""
    path = folder / "run" / "journal.jsonl"
    kinds = Counter(record["kind"] for record in Journal(path).records) if path.exists() else Counter()
    if "done" in kinds:
        return "done"
    if kinds["trained"] == 3:
        return "export"
    return "train" if "searched" in kinds else "search" if "profiled" in kinds else "start"


def kill(folder: Path, arguments: tuple[str, ...], stage_of: Callable[[Path], str], stage: str, wait: float) -> str:
    """Start, wait for the stage and then `wait` seconds, kill. The stage that was hit; 'done' if none was."""
    process = start(folder, *arguments)
    while process.poll() is None and STAGES.index(stage_of(folder)) < STAGES.index(stage):
        sleep(_POLL_SECONDS)
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        hit = stage_of(folder)
        process.kill()
        process.wait()
        return hit
    if process.returncode != 0:
        sys.exit(f"hwnas {' '.join(arguments)} failed:\n{(folder / 'log').read_text()[-2000:]}")
    return "done"


def epochs_done(folder: Path) -> dict[str, int]:
    """By checkpoint: how many epochs it holds."""
    files = sorted((folder / "run" / "checkpoints").rglob("*.safetensors"))
    facts = {file.name: checkpoint.load(file)[1] for file in files if file.name != "test_samples.safetensors"}
    return {name: fact["epoch"] for name, fact in facts.items() if "epoch" in fact}


def kill_profile(folder: Path, kills: int, span: float, rng: random.Random, tally: Tally) -> None:
    """Turns that were recorded stay recorded; the table ends with as many rounds as an uninterrupted one."""
    turns, before = folder / "latency_tables" / ".cpu.turns.jsonl", b""
    while tally.kills["profile"] < kills:
        hit = kill(folder, ("profile",), profile_stage, "profile", rng.uniform(0, span))
        if hit == "done":
            shutil.rmtree(folder / "latency_tables")
            before = b""
            continue
        tally.kills[hit] += 1
        content = turns.read_bytes()
        tally.check(content.startswith(before), "turns that were recorded are gone")
        before = content[: content.rfind(b"\n") + 1]
    finish(folder, "profile")


def kill_run(
    folder: Path, variant: Variant, kills: int, spans: dict[str, float], rng: random.Random, tally: Tally
) -> None:
    arguments, journal = run_arguments(variant), folder / "run" / "journal.jsonl"
    before, epochs = b"", dict[str, int]()
    for number in range(kills):
        stage = KILLED_IN[number * len(KILLED_IN) // kills]
        hit = kill(folder, arguments, run_stage, stage, rng.uniform(0, spans[stage]))
        if hit == "done":
            break
        tally.kills[hit] += 1
        if (folder / "run" / "config.yaml").exists() and (found := listed(folder / "run")).state == "damaged":
            tally.unreadable.append(f"{variant}, killed in {hit}: {found.trouble}")
            tally.check(False, tally.unreadable[-1])
        content = journal.read_bytes() if journal.exists() else b""
        tally.check(content.startswith(before), f"{variant}: records of the journal are gone")
        before = content[: content.rfind(b"\n") + 1]
        now = epochs_done(folder)
        tally.check(all(now.get(name, n) >= n for name, n in epochs.items()), f"{variant}: epochs are gone")
        epochs = now
        again = sum(1 for _ in Journal(journal).of("epoch")) - epochs.get("supernet.safetensors", 0)
        tally.again[hit] = max(tally.again[hit], again)
    finish(folder, *arguments)


def outcome(folder: Path) -> dict[str, Any]:
    """What must not depend on kills."""
    result = json.loads((folder / "run" / "result.json").read_text())
    return {
        "journal": Journal(folder / "run" / "journal.jsonl").digest(),
        "result": _decided(result),
        "weights": sha256(folder / "run" / "bundle" / "weights.safetensors"),
        "arch": (folder / "run" / "bundle" / "arch.json").read_text(),
    }


def _decided(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decided(inner) for key, inner in value.items() if not key.endswith(MEASURED)}
    return [_decided(inner) for inner in value] if isinstance(value, list) else value


def timed_run(folder: Path, variant: Variant) -> dict[str, float]:
    """One run without interruption: seconds spent in each stage."""
    spent: Counter[str] = Counter()
    process, last = start(folder, *run_arguments(variant)), monotonic()
    while process.poll() is None:
        sleep(_POLL_SECONDS)
        now = monotonic()
        spent[run_stage(folder)] += now - last  # type: ignore[assignment]
        last = now
    if process.returncode != 0:
        sys.exit(f"the uninterrupted run failed:\n{(folder / 'log').read_text()[-2000:]}")
    return dict(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    rng, tally = random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory(prefix="hwnas-kill-") as name:
        base = Path(name)

        def folder(label: str) -> Path:
            path = base / label
            path.mkdir()
            if (base / "plain" / "latency_tables").exists():
                shutil.copytree(base / "plain" / "latency_tables", path / "latency_tables")
            return path

        profiled = folder("profile")
        plain = folder("plain")
        finish(plain, "profile")
        kill_profile(profiled, max(1, options.kills // 4), 2.0, rng, tally)
        whole, pieced = (load_table(f / "latency_tables" / "cpu.json").entries for f in (plain, profiled))
        same = {key: entry.rounds for key, entry in whole.items()} == {key: e.rounds for key, e in pieced.items()}
        tally.check(same, "the table of the killed profile differs in its operators or rounds")
        print(f"profile: {tally.kills['profile']} kills, table whole: {'yes' if same else 'NO'}", flush=True)

        variants = [(strategy, seed) for seed in SEEDS for strategy in STRATEGIES]
        references: dict[Variant, tuple[dict[str, Any], dict[str, float]]] = {}
        number = 0
        while (left := options.kills - tally.kills.total()) > 0:
            variant = variants[number % len(variants)]
            if variant not in references:
                reference = folder(f"plain-{len(references)}")
                spans = timed_run(reference, variant)
                references[variant] = outcome(reference), spans
            killed, before = folder(f"run-{number}"), tally.kills.total()
            expected, spans = references[variant]
            kill_run(killed, variant, min(left, KILLS_A_RUN), spans, rng, tally)
            found = outcome(killed)
            for key, value in expected.items():
                tally.check(found[key] == value, f"{variant}: {key} differs from the uninterrupted run's")
            line = ", ".join(f"{key} equal: {'yes' if found[key] == expected[key] else 'NO'}" for key in expected)
            print(
                f"run {number} ({variant[0]}, seed {variant[1]}): {tally.kills.total() - before} kills, {line}",
                flush=True,
            )
            number += 1

    print(f"\n{'stage':<10}{'kills':>6}  recorded epochs trained again, at most")
    for stage in STAGES[:-1]:
        print(f"{stage:<10}{tally.kills[stage]:>6}  {tally.again[stage]}")
    told = f"{tally.kills.total()} kills, {len(tally.unreadable)} unreadable run directories"
    verdict = (
        f"{len(tally.failures)} FAILURES" if tally.failures else "0 failures: nothing recorded lost, results equal"
    )
    print(f"{told}, {verdict}")
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    main()
