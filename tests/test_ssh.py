"""A device at the other end of a real SSH connection: this machine."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import yaml
from conftest import TINY, hwnas
from ssh_server import Server, serving

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.target import Target, load_target
from hwnas.devices import open_runtime
from hwnas.devices.ssh import Ssh
from hwnas.latency.table import load_table
from hwnas.latency.turns import Turns
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec

OPERATORS = 22
TURNS = TINY["profile"]["protocol"]["rounds"] * (OPERATORS + 8 + 2 * 4)


LITERT = ("litert", "ai_edge_litert")


class Killed(BaseException): ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def ssh(server: Server, monkeypatch) -> Server:
    monkeypatch.setenv("PATH", f"{server.client}{os.pathsep}{os.environ['PATH']}")
    return server


@pytest.fixture
def target(ssh: Server) -> Target:
    options = {"python": sys.executable, "timeout_seconds": 20}
    return load_target(ssh.host).model_copy(update={"options": options})


@pytest.fixture(scope="module")
def model() -> bytes:
    spec = OpSpec.of("conv", (3, 16, 16), out=8, kernel=3, stride=1, act="relu6")
    return onnx_graph.write(build(spec).eval(), (3, 16, 16))


@contextmanager
def rewritten(path: Path, text: str) -> Iterator[None]:
    """For a while."""
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


@pytest.fixture
def turns(monkeypatch) -> Callable[[dict[int, Callable[[], None]]], list[tuple[str, int]]]:
    """`turns({n: action})`: the list of turns recorded from now on; each action comes before the n-th."""
    plain = Turns.record

    def count(actions: dict[int, Callable[[], None]]) -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []

        def record(self: Turns, key: str, number: int, samples_ns: list[int]) -> None:
            actions.pop(len(seen), lambda: None)()
            seen.append((key, number))
            plain(self, key, number, samples_ns)

        monkeypatch.setattr(Turns, "record", record)
        return seen

    return count


def profile(ssh: Server, *more: str):
    return hwnas("profile", "--config", "tiny.yaml", "--target", ssh.host, *more, *python(), "--quiet")


def python(path: str = sys.executable) -> tuple[str, ...]:
    return "--set", f"target.options.python={path}", "--set", "target.options.timeout_seconds=20"


def kill(runtimes: list[Ssh]) -> None:
    for runtime in runtimes:
        if runtime.link:
            runtime.link.process.kill()


@pytest.fixture
def opened(monkeypatch) -> list[Ssh]:
    """Every Ssh runtime that is made from now on."""
    made: list[Ssh] = []
    plain = Ssh.__init__

    def init(self: Ssh, target: Target) -> None:
        plain(self, target)
        made.append(self)

    monkeypatch.setattr(Ssh, "__init__", init)
    return made


def test_a_profile_is_cut_killed_and_resumed_and_nothing_is_timed_twice(bare: Path, ssh: Server, turns, opened):
    def killed() -> None:
        raise Killed

    cut, last = 10, 30
    first = turns({cut: lambda: kill(opened), last: killed})
    with pytest.raises(Killed):
        profile(ssh)
    again = turns({})
    outcome = profile(ssh)
    assert outcome.code == 0, outcome.stderr
    assert len(first) == last and len(again) == TURNS - last
    assert len(set(first) | set(again)) == TURNS
    table = load_table(next((bare / "latency_tables").glob("*.json")))
    assert table.fingerprint.identity["host"] == ssh.host and table.target.device == "named"
    assert "options" not in table.fingerprint.identity  # a longer timeout is not another device
    assert {"governor", "load_1min", "temperature_c"} <= table.fingerprint.recorded.keys()


def test_several_devices_are_profiled_side_by_side_and_one_that_is_away_costs_no_other(bare: Path, ssh: Server) -> None:
    """Two targets of one device, this machine, and a device that nobody answers for."""
    away = "ssh://127.0.0.1:1"
    for name, host in (("board", ssh.host), ("board-again", ssh.host), ("away", away)):
        options = {"python": sys.executable, "timeout_seconds": 20}
        facts = {"name": name, "device": "named", "runtime": "onnxruntime", "host": host, "options": options}
        (bare / f"{name}.yaml").write_text(yaml.safe_dump(facts))
    targets = [part for name in ("away", "board", "cpu", "board-again") for part in ("--target", f"{name}.yaml")]
    targets[targets.index("cpu.yaml")] = "cpu"
    outcome = hwnas("profile", "--config", "tiny.yaml", *targets)
    assert outcome.code == 4 and "127.0.0.1" in outcome.stderr, outcome.stderr
    assert all(f"profile {name}: {how}" in outcome.stderr for name, how in (("board", "done"), ("away", "failed"))), (
        outcome.stderr
    )
    tables = {name: load_table(bare / "latency_tables" / f"{name}.json") for name in ("board", "cpu", "board-again")}
    timed = [{entry.measured_at for entry in tables[name].entries.values()} for name in ("board", "board-again")]
    assert max(timed[0]) <= min(timed[1]) or max(timed[1]) <= min(timed[0])
    targets[targets.index("away.yaml") - 1 : targets.index("away.yaml") + 1] = []
    outcome = hwnas("profile", "--config", "tiny.yaml", *targets, "--json", "--quiet")
    assert outcome.code == 0
    assert list(json.loads(outcome.stdout.splitlines()[-1])["targets"]) == ["board", "cpu", "board-again"]


@pytest.mark.parametrize(("runtime", "package"), [(name, name) for name in ("onnxruntime", "openvino")] + [LITERT])
def test_a_device_does_what_the_plug_in_does_here(target: Target, model: bytes, runtime: str, package: str):
    pytest.importorskip(package, reason=f"needs {package}")
    there = open_runtime(target.model_copy(update={"runtime": runtime}))
    here = open_runtime(Target(name="here", runtime=runtime))
    assert dict(there.identity()) == dict(here.identity()) and there.measures == here.measures
    session, local = there.load(model), here.load(model)
    for batch in (1, 5):
        x = np.random.default_rng(batch).standard_normal((batch, 3, 16, 16), dtype=np.float32)
        np.testing.assert_allclose(session.infer(x), local.infer(x), atol=1e-6)
    samples = session.turn_ns(1, 200_000, 3)
    assert len(samples) >= 3 and sum(samples) >= 200_000
    session.close()


def test_a_lost_worker_is_started_again_with_the_graphs_it_needs(target: Target, model: bytes):
    runtime = open_runtime(target)
    assert isinstance(runtime, Ssh)
    first, second = runtime.load(model), runtime.load(model)
    assert len(runtime.link.loaded) == 2
    kill([runtime])
    assert second.time_ns() > 0
    assert len(runtime.link.loaded) == 1
    assert first.time_ns() > 0


def test_what_the_device_refuses_is_bad_input(target: Target):
    with pytest.raises(BadInput, match="refuses the model"):
        open_runtime(target).load(b"not a model")


def test_a_device_that_stays_away_ends_with_the_timeout(tmp_path: Path, monkeypatch, model: bytes):
    with serving(tmp_path) as ssh:
        monkeypatch.setenv("PATH", f"{ssh.client}{os.pathsep}{os.environ['PATH']}")
        options = {"python": sys.executable, "timeout_seconds": 6}
        runtime = open_runtime(load_target(ssh.host).model_copy(update={"options": options}))
        session = runtime.load(model)
    kill([runtime])
    start = monotonic()
    with pytest.raises(Unavailable, match="does not answer") as refusal:
        session.time_ns()
    assert monotonic() - start < 8
    assert "it resumes" in refusal.value.mend


def test_an_unknown_host_is_refused_with_the_command_that_adds_it(bare: Path, ssh: Server):
    with rewritten(ssh.known_hosts, ""):
        outcome = profile(ssh)
    assert outcome.code == 4
    assert "host key" in outcome.stderr and "mend: ssh -p" in outcome.stderr


def test_a_changed_host_key_is_refused(bare: Path, ssh: Server):
    host, kind, _ = ssh.known_hosts.read_text().split()
    another = (ssh.known_hosts.parent / "user.pub").read_text().split()[1]
    with rewritten(ssh.known_hosts, f"{host} {kind} {another}\n"):
        outcome = profile(ssh)
    assert outcome.code == 4
    assert "another host key" in outcome.stderr and "ssh-keygen -R" in outcome.stderr


def test_a_stranger_is_told_how_to_get_in(bare: Path, ssh: Server):
    keys = ssh.known_hosts.parent / "authorized"
    somebody_else = (keys.parent / "host.pub").read_text()
    with rewritten(keys, somebody_else):
        outcome = profile(ssh)
    assert outcome.code == 4 and "ssh-copy-id" in outcome.stderr


def test_a_device_without_the_runtime_or_without_python(bare: Path, ssh: Server, tmp_path: Path):
    empty = tmp_path / "python"
    empty.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')  # -S: no installed packages
    empty.chmod(0o755)
    for path, word in ((str(empty), "pip install onnxruntime"), ("/no/such/python", "options: {python")):
        outcome = hwnas("profile", "--config", "tiny.yaml", "--target", ssh.host, *python(path), "--quiet")
        assert outcome.code == 4
        assert word in outcome.stderr


def test_nothing_is_connected_to_before_it_is_needed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert isinstance(open_runtime(load_target("ssh://nobody@nowhere.invalid")), Ssh)


@pytest.mark.parametrize(
    "change", [{"provider": "CUDAExecutionProvider"}, {"precision": "fp16"}, {"runtime": "ethos-u"}]
)
def test_what_cannot_be_timed_there_is_refused_at_once(change: dict):
    with pytest.raises((BadInput, Unavailable)):
        open_runtime(load_target("ssh://board").model_copy(update=change))


@pytest.mark.parametrize(
    "host", ["ssh://-oProxyCommand=x@h", "ssh://h/../x", "ssh://a b", "ssh://h:port", "ssh://h;id"]
)
def test_an_address_cannot_carry_anything_else(host: str):
    with pytest.raises(BadInput):
        load_target(host)
