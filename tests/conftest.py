"""A configuration so small that a whole run takes seconds, and one finished run of it that tests copy."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from hwnas.core.progress import be_quiet

os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY = {
    # Generous, so that the noise of so short a measurement does not decide which candidate wins.
    "budget": "200%",
    "space": {
        "name": "mobile",
        "resolution": 16,
        "stem_width": 8,
        "first_width": 8,
        "widths": [8, 16],
        "depths": [1, 2],
        "strides": [1, 2],
        "head_width": 32,
    },
    "data": {"name": "digits", "limit": 200},
    "search": {"epochs": 2},
    "training": {"epochs": 1},
    "compute": {"device": "cpu", "threads": 1},
    "profile": {
        "fitted": 8,
        "held_out": 4,
        # Five rounds: the median of two is the mean of a good one and of one that the machine was away for.
        "protocol": {"rounds": 5, "extra_rounds": 0, "turn_ms": 0.5, "min_samples": 2, "warmup_runs": 1},
    },
}


class Outcome(NamedTuple):
    code: int
    stdout: str
    stderr: str


def hwnas(*arguments: object) -> Outcome:
    """One command, in this process: what it does not catch itself fails the test."""
    from hwnas.cli import main

    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), pytest.raises(SystemExit) as leave:
        main([str(argument) for argument in arguments])
    code = leave.value.code
    return Outcome(code if isinstance(code, int) else int(code is not None), stdout.getvalue(), stderr.getvalue())


def start(*arguments: object, folder: Path) -> "subprocess.Popen[str]":
    """One command, in a process of its own."""
    command = [sys.executable, "-m", "hwnas", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with tiny.yaml, latency_tables/cpu.json and the finished run `run`. Only to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    with contextlib.chdir(folder):
        outcome = hwnas("run", "--config", "tiny.yaml", "--out", "run", "--json")
    assert outcome.code == 0, outcome.stderr
    return folder


@pytest.fixture(autouse=True)
def loud() -> None:
    """A command of an earlier test may have been told to be quiet."""
    be_quiet(False)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own with tiny.yaml alone; the test runs in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    return tmp_path


@pytest.fixture
def workspace(bare: Path, finished: Path) -> Path:
    """As `bare`, with the table of the finished run."""
    shutil.copytree(finished / "latency_tables", bare / "latency_tables")
    return bare


@pytest.fixture
def finished_run(workspace: Path, finished: Path) -> Path:
    """A copy of the finished run directory, in the workspace."""
    shutil.copytree(finished / "run", workspace / "run")
    return workspace / "run"


@pytest.fixture(scope="session")
def tiny_space():
    from hwnas.spaces.mobile import Mobile, MobileSettings

    settings = {key: value for key, value in TINY["space"].items() if key != "name"}
    return Mobile(MobileSettings.model_validate(settings), channels=1, classes=10)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with two cores, on this machine. Skips where Ray is not installed."""
    pytest.importorskip("ray", reason="needs pip install 'hwnas[ray]'")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`small_disk("512k")`: the folder of a file system of that size. Skips where mounting is not allowed."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk needs root")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
