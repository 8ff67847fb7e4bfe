"""`--workers` on whole searches: the same decisions as without, and what clusters do to programs."""

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import hwnas, start
from test_cli import fill

from hwnas.core.journal import Journal
from hwnas.run.result import load_result

SCRIPTED = Path(__file__).parent / "scripted.py"
SEARCH = ("search", "--config", "tiny.yaml", "--strategy", "random", "--set", "strategy.trials=10")
BY_SCRIPT = (*SEARCH, "--set", "estimator.name=scripted.py")
DECIDES = ("arch", "accuracy", "predicted", "predicted_p95", "failed")


@pytest.fixture
def scripted(workspace: Path) -> Path:
    (workspace / "scripted.py").write_text(SCRIPTED.read_text())
    return workspace


def journal(out: str) -> Journal:
    return Journal(Path(out) / "journal.jsonl")


def decided(out: str) -> list[dict[str, Any]]:
    """The trials, without times."""
    return [{key: record[key] for key in DECIDES if key in record} for record in journal(out).of("trial")]


def asked() -> list[tuple[str, int]]:
    """(arch, process) of every question so far."""
    log = Path("asked.log")
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(arch, int(process)) for arch, process in lines]


def wait_for(process: "subprocess.Popen[str]", questions: int) -> list[tuple[str, int]]:
    deadline = time.monotonic() + 120
    while len(asked()) < questions:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.02)
    return asked()


def ended(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "(zombie)" in status.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random", "spos"])
def test_one_and_two_workers_decide_as_none(workspace: Path, strategy: str) -> None:
    sets = {"random": ("strategy.trials=5",), "spos": ("strategy.population=4", "strategy.generations=2")}[strategy]
    words = [word for assignment in sets for word in ("--set", assignment)]
    for out, workers in (("none", ()), ("one", ("--workers", 1)), ("two", ("--workers", 2))):
        outcome = hwnas("search", "--config", "tiny.yaml", "--strategy", strategy, *words, *workers, "--out", out)
        assert outcome.code == 0, outcome.stderr
    assert journal("none").digest() == journal("one").digest() == journal("two").digest()
    assert load_result(Path("none")).arch == load_result(Path("two")).arch


@pytest.mark.slow
def test_children_raised_by_two_workers_are_the_same_every_time(workspace: Path) -> None:
    """Large-scale evolution: weights go from one worker to the other by the run directory."""
    words = ("--strategy", "large-scale-evolution", "--set", "strategy.trials=6", "--workers", 2)
    for out in ("a", "b"):
        outcome = hwnas("search", "--config", "tiny.yaml", *words, "--out", out)
        assert outcome.code == 0, outcome.stderr
    assert journal("a").digest() == journal("b").digest()
    assert any(record["parent"] is not None for record in journal("a").of("trial"))


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_trial(scripted: Path) -> None:
    assert hwnas(*BY_SCRIPT, "--out", "whole").code == 0
    Path("asked.log").unlink()
    head = start(*BY_SCRIPT, "--set", "estimator.seconds=0.5", "--workers", 2, "--out", "killed", folder=scripted)
    arch, victim = wait_for(head, 4)[3]
    subprocess.run(["kill", "-9", str(victim)], check=True)
    _, stderr = head.communicate(timeout=120)
    assert head.returncode == 0, stderr
    assert "its worker was killed by SIGKILL" in stderr and "attempt 2 of 3" in stderr
    assert decided("killed") == decided("whole")
    assert Counter(arch for arch, _ in asked())[arch] >= 2 and ended(victim)


@pytest.mark.slow
def test_the_head_killed_and_started_again(scripted: Path) -> None:
    assert hwnas(*BY_SCRIPT, "--out", "whole").code == 0
    Path("asked.log").unlink()
    command = (*BY_SCRIPT, "--set", "estimator.seconds=0.3", "--workers", 2, "--out", "killed")
    head = start(*command, folder=scripted)
    workers = {process for _, process in wait_for(head, 6)}
    head.send_signal(signal.SIGKILL)
    head.communicate()
    kept = journal("killed").path.read_bytes()
    again = hwnas(*command)
    assert again.code == 0, again.stderr
    assert decided("killed") == decided("whole") and journal("killed").path.read_bytes().startswith(kept)
    assert len(asked()) <= 10 + 2, "more than what was in the hands of the workers was asked again"
    assert all(ended(worker) for worker in workers)


@pytest.mark.parametrize(
    ("how", "limit", "why"),
    [
        ("crash", (), "SIGSEGV"),
        pytest.param(
            *("memory", ("--set", "workers.memory_mib=4096"), "Unable to allocate 64.0 GiB"), marks=pytest.mark.slow
        ),
        pytest.param(*("hang", ("--set", "workers.seconds=5"), "longer than 5 s"), marks=pytest.mark.slow),
    ],
)
def test_a_poisoned_architecture_is_recorded_and_skipped(scripted: Path, how: str, limit: Any, why: str) -> None:
    assert hwnas(*BY_SCRIPT, "--out", "sound").code == 0
    poison = decided("sound")[2]["arch"][0]
    words = ("--set", f"estimator.poison={poison}", "--set", f"estimator.how={how}", "--set", "workers.retries=0")
    command = (*BY_SCRIPT, *words, *limit, "--workers", 2, "--out", "poisoned")
    outcome = hwnas(*command)
    assert outcome.code == 0, outcome.stderr
    records = list(journal("poisoned").of("trial"))
    for sound, record in zip(decided("sound"), records, strict=True):
        assert record["arch"] == sound["arch"]
        if record["arch"][0] == poison:
            assert why in record["failed"] and (Path("poisoned") / record["log"]).exists()
        else:
            assert record["accuracy"] == sound["accuracy"] and "failed" not in record
    assert load_result(Path("poisoned")).arch[0] != poison
    before, questions = journal("poisoned").path.read_bytes(), len(asked())
    assert hwnas(*command).code == 0
    assert journal("poisoned").path.read_bytes() == before and len(asked()) == questions


def test_two_heads_on_one_directory(scripted: Path) -> None:
    command = (*BY_SCRIPT, "--set", "estimator.seconds=0.3", "--workers", 2, "--out", "shared")
    first = start(*command, folder=scripted)
    wait_for(first, 1)
    second = hwnas(*command)
    assert second.code == 2 and "is in use by another hwnas" in second.stderr
    _, stderr = first.communicate(timeout=120)
    assert first.returncode == 0, stderr
    assert len(decided("shared")) == 10


@pytest.mark.slow
def test_a_full_disk_and_space_again(small_disk: Any, scripted: Path) -> None:
    """Workers write the learning curves' journal and checkpoints."""
    disk = small_disk("8m")
    command = (*SEARCH, "--set", "strategy.trials=4", "--set", "estimator.name=full", "--workers", 2)
    assert hwnas(*command, "--out", "whole").code == 0
    filler = fill(disk, leave=24 << 10)
    full = hwnas(*command, "--out", disk / "run")
    assert full.code == 2 and "No space left" in full.stderr and "it resumes" in full.stderr
    assert "Traceback" not in full.stderr
    filler.unlink()
    assert hwnas(*command, "--out", disk / "run").code == 0
    assert decided(str(disk / "run")) == decided("whole")


def test_what_cannot_be_sent_to_workers_is_told(scripted: Path) -> None:
    learns = hwnas(*SEARCH, "--set", "estimator.name=learning-curve", "--workers", 2, "--out", "r")
    assert learns.code == 2 and "learns from every answer" in learns.stderr and "leave out --workers" in learns.stderr
    gpus = hwnas(*BY_SCRIPT, "--set", "workers.gpus=1", "--workers", 9, "--out", "g")
    assert gpus.code == 4 and "9 workers with 1 GPUs each need 9" in gpus.stderr and "fewer --workers" in gpus.stderr
    cluster = hwnas(*SEARCH, "--set", "ray.address=auto", "--out", "r")
    assert cluster.code == 2 and "no workers" in cluster.stderr and "--workers 8" in cluster.stderr
