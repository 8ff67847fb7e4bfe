"""A device that is not connected: packed, profiled there by a Python that holds the runtime alone, read back."""

import ast
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
import yaml
from conftest import TINY, hwnas

from hwnas.core.errors import BadInput
from hwnas.core.target import Target
from hwnas.devices.aboard import sources
from hwnas.latency import kit_results
from hwnas.latency.kit_results import KitProfiler, read_results
from hwnas.latency.profiler import ProfileSettings
from hwnas.latency.statistics import summarise
from hwnas.latency.table import load_table

OPERATORS = 22
TURNS = TINY["profile"]["protocol"]["rounds"] * (OPERATORS + 8 + 2 * 4)
BOARD = {"name": "board", "device": "named", "runtime": "onnxruntime", "threads": 1}
NEEDS = ("onnxruntime", "numpy", "numpy.libs", "flatbuffers", "google", "packaging", "coloredlogs", "sympy", "mpmath")
"""What `pip install onnxruntime` brings."""

PACK = ("profile", "--config", "tiny.yaml", "--target", "board.yaml", "--quiet")


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A Python that can import onnxruntime and what that needs, and nothing else that is installed here."""
    import onnxruntime

    installed, packages = Path(onnxruntime.__file__).parents[1], tmp_path_factory.mktemp("packages")
    for name in NEEDS:
        if (installed / name).exists():
            (packages / name).symlink_to(installed / name)
    start = f"import runpy,sys;sys.path[:0]=['.',{str(packages)!r}];runpy.run_path('worker.py',run_name='__main__')"
    return [sys.executable, "-S", "-E", "-s", "-c", start]


@pytest.fixture
def board(bare: Path) -> Path:
    (bare / "board.yaml").write_text(yaml.safe_dump(BOARD))
    return bare


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, lean: list[str]) -> Path:
    """A kit's folder after its run; only to be copied."""
    import contextlib

    folder = tmp_path_factory.mktemp("done")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (folder / "board.yaml").write_text(yaml.safe_dump(BOARD))
    with contextlib.chdir(folder):
        assert hwnas(*PACK, "--pack", "kit.tar").code == 0
    unpack(folder / "kit.tar", folder / "kit")
    run = subprocess.run(lean, cwd=folder / "kit", capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return folder / "kit"


def unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")  # refuses what would leave the folder


@pytest.fixture
def results(board: Path, done: Path) -> Callable[..., Path]:
    """`results(change)`: results.json, changed and signed again as its author could."""

    def write(change: Callable[[dict], None] = lambda content: None) -> Path:
        content = json.loads((done / "results.json").read_text())
        del content["sha256"]
        change(content)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        (board / "results.json").write_text(json.dumps(content))
        return board / "results.json"

    return write


@pytest.fixture
def read(tiny_space, monkeypatch) -> Callable[[Path], KitProfiler]:
    """Results of the board's kit, with its plan made once."""
    settings = ProfileSettings.model_validate(TINY["profile"])
    monkeypatch.setattr(kit_results, "graphs_of", lru_cache(kit_results.graphs_of))
    return lambda file: KitProfiler(file, tiny_space, Target.model_validate(BOARD), settings)


def test_the_results_become_a_table(board: Path, results):
    outcome = hwnas(*PACK, "--import", results(), "--json")
    assert outcome.code == 0, outcome.stderr
    facts = json.loads(outcome.stdout.splitlines()[-1])
    assert facts["operators"] == OPERATORS and facts["error"]["networks"] == 4
    table = load_table(board / "latency_tables" / "board.json")
    assert table.fingerprint.identity["runtime"] == "onnxruntime"
    assert "load_1min_after" in table.fingerprint.recorded
    times = json.loads((board / "results.json").read_text())["turns"]
    first = [sample for number, _, samples in times if number == 0 for sample in samples]
    assert min(first) / 1e6 <= table.entries[sorted(table.entries)[0]].median_ms <= max(first) / 1e6

    again = hwnas(*PACK, "--import", "results.json")
    assert again.code == 2 and "--fresh" in again.stderr
    assert hwnas(*PACK, "--import", "results.json", "--fresh").code == 0


def test_equal_kits_have_equal_bytes_and_no_paths(board: Path, done: Path):
    assert hwnas(*PACK, "--pack", "again/kit.tar").code == 0
    assert (board / "again/kit.tar").read_bytes() == (done.parent / "kit.tar").read_bytes()
    with tarfile.open(board / "again/kit.tar") as tar:
        for entry in tar:
            assert entry.isreg() and "/" not in entry.name and ".." not in entry.name
            assert entry.mtime == entry.uid == entry.gid == 0 and not entry.uname
    assert hwnas(*PACK, "--pack", "small.tar.xz").code == 0
    assert (board / "small.tar.xz").stat().st_size < 0.5 * (board / "again/kit.tar").stat().st_size
    unpack(board / "small.tar.xz", board / "small")
    assert (board / "small/plan.json").read_bytes() == (done / "plan.json").read_bytes()


def test_a_killed_kit_goes_on_and_takes_no_turn_twice(tmp_path: Path, done: Path, lean: list[str]):
    kit = shutil.copytree(done, tmp_path / "kit", ignore=shutil.ignore_patterns("results.json", "turns.jsonl"))
    running = subprocess.Popen(lean, cwd=kit, stderr=subprocess.DEVNULL)
    journal = kit / "turns.jsonl"
    for _ in range(600):
        if journal.exists() and journal.read_bytes().count(b"\n") > 10:
            break
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = journal.read_bytes()
    assert 10 < before.count(b"\n") < TURNS and not (kit / "results.json").exists()
    journal.write_bytes(before + b"[3, 1, [12")  # a torn last line
    assert subprocess.run(lean, cwd=kit, capture_output=True, check=False).returncode == 0
    whole = before[: before.rfind(b"\n") + 1]
    assert journal.read_bytes().startswith(whole)
    turns = json.loads((kit / "results.json").read_text())["turns"]
    assert len(turns) == len({(number, round_) for number, round_, _ in turns}) == TURNS


def test_an_altered_kit_is_refused_on_the_device(tmp_path: Path, done: Path, lean: list[str]):
    kit = shutil.copytree(done, tmp_path / "kit", ignore=shutil.ignore_patterns("results.json", "turns.jsonl"))
    (kit / "network0003").write_bytes((kit / "network0003").read_bytes()[:-1] + b"x")
    run = subprocess.run(lean, cwd=kit, capture_output=True, text=True, check=False)
    assert run.returncode == 1 and run.stderr.splitlines()[-1].startswith("error: network0003 is not the file")


@pytest.mark.parametrize(
    "change",
    [
        ("--set", "target.name=other"),
        ("--set", "profile.protocol.rounds=3"),
        ("--set", "profile.seed=5"),
        ("--set", "profile.fitted=9"),
        ("--set", "space.head_width=48"),
    ],
    ids=" ".join,
)
def test_results_of_another_kit_are_refused(board: Path, results, change: tuple[str, str]):
    outcome = hwnas(*PACK, *change, "--import", results())
    assert outcome.code == 2 and "another kit" in outcome.stderr
    assert not (board / "latency_tables").exists()


def test_another_device_does_not_become_this_machine(bare: Path, done: Path, lean: list[str], tmp_path: Path):
    arguments = ("profile", "--config", "tiny.yaml", "--quiet")
    assert hwnas(*arguments, "--pack", "cpu.tar").code == 0
    unpack(bare / "cpu.tar", bare / "kit")
    plan = (bare / "kit/plan.json").read_bytes()
    content = json.loads((done / "results.json").read_text())
    content |= {"target": "cpu", "plan_sha256": hashlib.sha256(plan).hexdigest()}
    content["identity"]["device"] = "another machine x64"
    del content["sha256"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (bare / "results.json").write_text(json.dumps(content))
    outcome = hwnas(*arguments, "--import", "results.json")
    assert outcome.code == 2 and "device: named" in outcome.stderr


def sample(value: object) -> Callable[[dict], None]:
    return lambda content: content["turns"][5][2].__setitem__(0, value)


LIES: dict[str, Callable[[dict], None]] = {
    "not a number": sample(float("nan")),
    "infinite": sample(float("inf")),
    "negative": sample(-1),
    "zero": sample(0),
    "huge": sample(10**30),
    "a fraction": sample(1000.5),
    "text": sample("../../etc/passwd"),
    "a turn less": lambda content: content["turns"].pop(),
    "a turn twice": lambda content: content["turns"].append(content["turns"][0]),
    "a round that was not asked for": lambda content: content["turns"].append([0, 7, content["turns"][0][2]]),
    "a graph that is not there": lambda content: content["turns"].append([999, 0, content["turns"][0][2]]),
    "too few samples": lambda content: content["turns"][0].__setitem__(2, [10**6]),
    "too many samples": lambda content: content["turns"][0].__setitem__(2, [10**6] * 50),
    "a path": lambda content: content["turns"][0].__setitem__(0, "../../../root"),
    "another runtime": lambda content: content["identity"].__setitem__("runtime", "litert"),
    "a name with an escape": lambda content: content["identity"].__setitem__("device", "\x1b[2J"),
    "another key": lambda content: content.__setitem__("pickle", "gASV"),
    "another format": lambda content: content.__setitem__("format", 2),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_lies_are_refused(results, read, lie: Callable[[dict], None]):
    read(results())
    with pytest.raises(BadInput) as refusal:
        read(results(lie))
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 10**6, b'{"format": 1}', b"\x00" * 100, b"\xff\xfe"])
def test_what_is_no_results_file_is_refused(board: Path, content: bytes):
    (board / "results.json").write_bytes(content)
    with pytest.raises(BadInput):
        read_results(board / "results.json")


def test_altered_results_are_refused(board: Path, done: Path):
    text = (done / "results.json").read_text().replace('"os": "', '"os": "x')
    (board / "results.json").write_text(text)
    with pytest.raises(BadInput, match="altered"):
        read_results(board / "results.json")


def test_a_file_of_ten_gigabytes_is_not_read(board: Path):
    with (board / "results.json").open("wb") as file:
        file.truncate(10 << 30)  # sparse
    with pytest.raises(BadInput, match="more than the"):
        read_results(board / "results.json")


def test_a_kit_and_the_profiler_call_the_same_median_unsure(done: Path):
    """The rule is written twice, because a device has no scipy."""
    rounds = [[(5 * n * n) % 97 + 100, (7 * n) % 31 + 90, (11 * n) % 53 + 80] for n in range(40)]
    asked = """
import json, sys, worker
kit = object.__new__(worker.Kit)
rounds = json.load(sys.stdin)
for count in range(1, len(rounds) + 1):
    kit.turns = [[0, number, samples] for number, samples in enumerate(rounds[:count])]
    print(kit.uncertainty(0))
"""
    command = [sys.executable, "-c", asked]
    run = subprocess.run(command, cwd=done, input=json.dumps(rounds), capture_output=True, text=True, check=True)
    ours = [summarise(rounds[: count + 1]).uncertainty for count in range(len(rounds))]
    assert [float(line) for line in run.stdout.split()] == pytest.approx(ours)


def test_what_travels_is_plain_python_3_8_and_knows_nothing_of_hwnas():
    for runtime in ("onnxruntime", "openvino", "litert"):
        for program in ("serve.py", "worker.py"):
            for name, content in sources(runtime, program).items():
                tree = ast.parse(content, name, feature_version=(3, 8))
                for node in ast.walk(tree):
                    imported = [alias.name for alias in getattr(node, "names", [])] + [
                        getattr(node, "module", "") or ""
                    ]
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        assert not any(module.startswith("hwnas") for module in imported), f"{name}: {imported}"


def test_pack_and_import_together_are_bad_usage(board: Path):
    assert hwnas(*PACK, "--pack", "kit.tar", "--import", "results.json").code == 2


@pytest.mark.slow
def test_the_kit_runs_in_an_environment_of_its_own(tmp_path: Path, done: Path):
    """As `lean`, by pip: skips where no package index can be reached."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    pip = subprocess.run([python, "-m", "pip", "install", "-q", "onnxruntime"], capture_output=True, check=False)
    if pip.returncode:
        pytest.skip("no package index")
    kit = shutil.copytree(done, tmp_path / "kit", ignore=shutil.ignore_patterns("results.json", "turns.jsonl"))
    subprocess.run([python, "worker.py"], cwd=kit, check=True)
    assert len(json.loads((kit / "results.json").read_text())["turns"]) == TURNS
