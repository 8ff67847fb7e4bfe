"""A device that lies, talks without end, hangs or dies: refused within the timeout, and nothing is believed."""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import numpy as np
import pytest

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.target import Target, load_target
from hwnas.deploy import verify
from hwnas.devices import open_runtime
from hwnas.runtimes import Session

TIMEOUT = 5


@pytest.fixture
def session(tmp_path: Path, monkeypatch) -> Callable[..., Session]:
    """`session(turn="…")`: of a device that answers so."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("hostile_worker.py")} "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    def load(**answers) -> Session:
        monkeypatch.setenv("HOSTILE_ANSWERS", json.dumps(answers))
        target = load_target("ssh://board").model_copy(update={"options": {"timeout_seconds": TIMEOUT}})
        return open_runtime(target).load(b"model")

    return load


LIES = {
    "text": "no JSON at all",
    "nothing": {},
    "a list": "[1, 2, 3]",
    "another key": {"samples_ns": [1000, 1000], "path": "../../etc/passwd"},
    "a path": {"samples_ns": "../../../etc/passwd"},
    "not a number": '{"samples_ns": [NaN, NaN]}',
    "infinite": '{"samples_ns": [Infinity, 1000]}',
    "huge": {"samples_ns": [10**30, 10**30]},
    "digits": '{"samples_ns": [' + "9" * 100_000 + "]}",
    "negative": {"samples_ns": [-5, 10_000]},
    "zero": {"samples_ns": [0, 10_000]},
    "fractions": {"samples_ns": [1000.5, 1000.5]},
    "strings": {"samples_ns": ["1000", "1000"]},
    "truths": {"samples_ns": [True, True]},
    "too few": {"samples_ns": [10_000]},
    "none": {"samples_ns": []},
    "too many": {"samples_ns": [10_000] * 3},
    "too short": {"samples_ns": [10, 10]},
    "more than passed": {"samples_ns": [10, 500_000_000_000]},
    "nested": "[" * 100_000,
    "an escape": {"fault": "absent", "text": "\x1b]0;title\x07"},
    "another fault": {"fault": "exploded", "text": "x"},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_lies_are_refused(session, lie):
    start = monotonic()
    with pytest.raises(Unavailable) as refusal:
        session(turn=lie).turn_ns(1, 2000, 2)
    assert monotonic() - start < TIMEOUT
    assert "\x1b" not in str(refusal.value)


def test_ten_gigabytes_are_refused_without_holding_them(session):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = monotonic()
    with pytest.raises(Unavailable, match="a line without end"):
        session(turn="10 GB").turn_ns(1, 2000, 2)
    assert monotonic() - start < TIMEOUT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


@pytest.mark.parametrize("habit", ["hang", "trickle", "die"])
def test_silence_ends_with_the_timeout(session, habit: str):
    start = monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        session(turn=habit).turn_ns(1, 2000, 2)
    assert monotonic() - start < TIMEOUT + 2


IDENTITY = {"device": "board", "runtime": "onnxruntime", "runtime_version": "1", "provider": "CPUExecutionProvider"}


@pytest.mark.parametrize(
    "identity",
    [
        {},
        IDENTITY | {"runtime": "another"},
        IDENTITY | {"device": ""},
        IDENTITY | {"device": "x" * 10_000},
        IDENTITY | {"device": "a\nb"},
        IDENTITY | {"../name": "x"},
        IDENTITY | {f"key{n}": "x" for n in range(100)},
    ],
)
def test_identities_are_checked(session, identity):
    with pytest.raises(Unavailable):
        session(open={"identity": identity, "state": {}})


def test_a_bundle_does_not_choose_whom_to_connect_to(tmp_path: Path, monkeypatch):
    target = Target(name="board", runtime="onnxruntime", host="ssh://root@production")
    monkeypatch.setattr(verify, "read_manifest", lambda folder: SimpleNamespace(target=target))
    with pytest.raises(BadInput, match="ssh://root@production"):
        verify.verify_bundle(tmp_path)


@pytest.mark.parametrize(
    "outputs",
    [
        {"shape": [2, 2], "float32": "AAAA"},
        {"shape": [10**9, 10**9], "float32": "AAAA"},
        {"shape": [-1], "float32": ""},
        {"shape": [1], "float32": "!!!!"},
        {"shape": [1]},
    ],
)
def test_outputs_are_as_large_as_their_shape(session, outputs):
    with pytest.raises(Unavailable):
        session(infer=outputs).infer(np.zeros((1, 3, 2, 2), dtype=np.float32))
