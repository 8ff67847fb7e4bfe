"""Several ranks that train together compute what one computes; killed, they go on to the same result."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch
import yaml
from conftest import TINY, hwnas
from ranks_script import CHECKS, inputs, passed
from torch import nn

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.files import sha256
from hwnas.core.journal import Journal
from hwnas.testing.estimator import small_means
from hwnas.training.ranks import Ranks, here

TESTS = Path(__file__).parent
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def torchrun(*arguments: object, folder: Path, more: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    """Two ranks of `python ARGUMENTS…`, in a session of their own."""
    command = [sys.executable, *TORCHRUN, *more, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, text=True, stdout=pipe, stderr=pipe, start_new_session=True)


def ended(process: "subprocess.Popen[str]", code: int = 0, seconds: float = 240) -> tuple[str, str]:
    """Its stdout and stderr. No rank outlives a test that fails."""
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, stderr
    return stdout, stderr


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What two ranks found, by check."""
    folder = tmp_path_factory.mktemp("ranks")
    checks = [name for name in CHECKS if name != "failing"]
    process = torchrun(TESTS / "ranks_script.py", folder, *checks, folder=folder)
    return json.loads(ended(process)[0].splitlines()[-1]) | {"folder": folder}


def test_ranks_average_sum_and_hear_what_rank_0_finds(two: dict) -> None:
    first, second = two["messages"]["facts"]
    assert first["averages"] == [[0.5], [5.0]] and first["sums"] == [2, 1] and first["told"] == {"rank": 0}
    assert first["read"] == [[0, 1, 2], {"epoch": 4}] and first["none"] is None and first["records"] == [[1]]
    assert (first.pop("slice"), second.pop("slice")) == ([0, 4], [4, 8])
    assert second == first
    assert list((two["folder"] / "1").iterdir()) == [], "rank 1 writes nothing"


def test_a_joint_batch_norm_is_that_of_the_whole_batch(two: dict) -> None:
    found = two["norms"]
    net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None)).double()
    output, gradient = passed(net, inputs())
    ours = {"output": output, "input gradient": gradient, "gradients": [p.grad for p in net.parameters()]}
    for name, expected in ours.items():
        for mine, theirs in zip(expected, found[name], strict=True):
            assert torch.allclose(mine, torch.tensor(theirs, dtype=torch.float64), rtol=1e-9, atol=1e-12), name
    for key, tensor in net.state_dict().items():
        theirs = torch.tensor(found["statistics"][key], dtype=torch.float64)
        assert torch.allclose(tensor.double(), theirs, rtol=1e-9), key
    assert found["plain again"]


def test_a_training_is_that_of_one_rank(two: dict, tmp_path: Path) -> None:
    """With clipped gradients and averaged weights; in float64, where rounding does not part them."""
    found, expected = two["trained"], CHECKS["trained"](tmp_path)
    for name, numbers in expected.items():
        assert found[name] == pytest.approx(numbers, rel=1e-9), name


def test_batch_norms_apart_settle_on_the_same_statistics(two: dict) -> None:
    first, second = two["apart"]["ranks"]
    assert first == second and len(first) > 10 and min(first) > 0


def test_shared_weights_are_judged_by_all_ranks_alike(two: dict, tmp_path: Path) -> None:
    found, expected = two["judged"], CHECKS["judged"](tmp_path)
    assert found["accuracy"] == expected["accuracy"]
    assert found["statistics"] == pytest.approx(expected["statistics"], rel=1e-4, abs=1e-5)


def test_ranks_whose_weights_part_are_stopped_together(two: dict) -> None:
    found = two["parted"]
    assert found["refused"] == [2] and "no longer hold the same weights" in found["what"]


def test_a_rank_that_dies_ends_the_others(tmp_path: Path) -> None:
    stdout, _ = ended(torchrun(TESTS / "ranks_script.py", tmp_path, "failing", folder=tmp_path), code=1, seconds=120)
    assert "never" not in stdout


def test_slices_are_disjoint_parts_of_the_batches_of_one_rank(tmp_path: Path) -> None:
    split = small_means(tmp_path).data.weights
    alone = list(split.epoch(32, torch.Generator().manual_seed(1)))
    parts = [list(split.share(Ranks2(rank)).epoch(32, torch.Generator().manual_seed(1))) for rank in range(2)]
    for whole, *slices in zip(alone, *parts, strict=True):
        assert all(len(y) == 16 for _, y in slices)
        for index in range(2):
            assert torch.equal(whole[index], torch.cat([part[index] for part in slices]))
    labels = [y for rank in range(2) for _, y in split.share(Ranks2(rank)).plain(7)]
    assert torch.equal(torch.cat(labels), torch.cat([y for _, y in split.plain()]))


class Ranks2(Ranks):
    """One of two, without a process group."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank, self.size = rank, 2


def test_a_batch_that_does_not_divide_is_refused_with_one_that_does() -> None:
    with pytest.raises(BadInput, match=r"a batch of 33 .* 2 ranks"):
        Ranks2(0).slice_of(33)


def test_text_trains_on_one_rank(two: dict) -> None:
    assert "trains on one rank" in two["text"]["refused"]


def test_restarts_over_machines_need_a_store_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = {"RUN_ID": "x", "RESTART_COUNT": "0", "MAX_RESTARTS": "3", "USE_AGENT_STORE": "True"}
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    for name, value in launched.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    with pytest.raises(Unavailable, match="for those that died"):
        here.__wrapped__()


@pytest.mark.parametrize("verb", ["compare", "calibrate", "profile"])
def test_other_verbs_run_in_one_process(verb: str, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    outcome = hwnas(verb)
    assert outcome.code == 2 and "without torchrun" in outcome.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["single path", "two paths", "darts", "darts, second order", "snas"])
def test_fifty_steps_follow_one_rank(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TESTS.parent / "benchmarks"))
    from ranks import parting, started  # type: ignore[import-not-found]

    one, two = (started(method, ranks, double=True)["losses"] for ranks in (1, 2))
    assert len(one) >= 50 and one[0] != one[-1]
    assert parting(one, two)[0] < 1e-5


SEARCHES = {
    "proxyless": {"strategy": {"name": "proxyless", "warmup": 0.0}},
    "spos": {"strategy": {"name": "spos", "population": 4, "generations": 1}},
}


def outcome_of(run: Path) -> tuple[str, str]:
    """What was decided, and the weights that ship."""
    return Journal(run / "journal.jsonl").digest(), sha256(run / "bundle" / "weights.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_killed_ranks_restart_to_the_same_result(name: str, workspace: Path) -> None:
    """Rank 1 is killed in the search, rank 0 in the training; torchrun restarts both from the last epoch."""
    longer = {"search": {"epochs": 6}, "training": {"epochs": 4}}
    (workspace / "two.yaml").write_text(yaml.safe_dump(TINY | longer | SEARCHES[name]))

    def start(out: str) -> "subprocess.Popen[str]":
        arguments = ("-m", "hwnas", "run", "--config", "two.yaml", "--out", out)
        return torchrun(*arguments, folder=workspace, more=("--max-restarts", "3"))

    ended(start("straight"))
    process = start("killed")
    checkpoints = workspace / "killed" / "checkpoints"
    killed = []
    for rank, sign in ((1, "trial/supernet.safetensors"), (0, "winner-*[0-9].safetensors")):
        deadline = monotonic() + 120
        while not list(checkpoints.glob(sign)) and process.poll() is None and monotonic() < deadline:
            sleep(0.005)
        killed.append(_kill(process.pid, rank))
    ended(process)
    assert killed == [True, True]
    assert outcome_of(workspace / "killed") == outcome_of(workspace / "straight")


def _kill(torchrun_pid: int, rank: int) -> bool:
    """kill -9 to the rank that torchrun has running."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (entry / "environ").read_bytes().split(b"\0")
            if parent == torchrun_pid and f"RANK={rank}".encode() in environment:
                os.kill(int(entry.name), signal.SIGKILL)
                return True
    return False


@pytest.mark.slow
def test_a_search_of_two_ranks_goes_on_with_one(workspace: Path) -> None:
    """And two ranks find at once that a run is done."""
    verb = ("--config", "tiny.yaml", "--out", "run")
    _, stderr = ended(torchrun("-m", "hwnas", "search", *verb, folder=workspace))
    assert stderr.count("run directory") == 1, "rank 0 alone speaks"
    searched = (workspace / "run" / "journal.jsonl").read_bytes()
    assert hwnas("run", *verb).code == 0
    done = (workspace / "run" / "journal.jsonl").read_bytes()
    assert done.startswith(searched) and len(list(Journal(workspace / "run" / "journal.jsonl").of("searched"))) == 1
    stdout, _ = ended(torchrun("-m", "hwnas", "run", *verb, folder=workspace))
    assert stdout.count("within budget") == 1
    assert (workspace / "run" / "journal.jsonl").read_bytes() == done
