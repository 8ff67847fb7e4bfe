"""A runtime in a process of its own computes and refuses as it does here, may crash, and does not outlive us."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from hwnas.core.errors import BadInput
from hwnas.core.target import Target
from hwnas.devices import apart, open_runtime
from hwnas.devices.apart import Apart, fresh
from hwnas.latency.profiler import Profiler, ProfileSettings
from hwnas.latency.protocol import Protocol
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.spaces.mobile import Mobile

CPU = Target(name="here", runtime="onnxruntime")

CRASHING = """
import os
from hwnas.runtimes.onnxruntime import Onnxruntime

class Crashing(Onnxruntime):
    def load(self, model):
        print("noise that is no reply")
        if model == b"deadly":
            os.abort()
        return super().load(model)
"""


@pytest.fixture(scope="module")
def model() -> bytes:
    spec = OpSpec.of("conv", (3, 16, 16), out=8, kernel=3, stride=1, act="relu6")
    return onnx_graph.write(build(spec).eval(), (3, 16, 16))


def test_it_computes_and_refuses_as_here(model: bytes) -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 16, 16), dtype=np.float32)
    here = open_runtime(CPU)
    with fresh(here) as there:
        assert there is not here
        session = there.load(model)
        np.testing.assert_array_equal(session.infer(x), here.load(model).infer(x))
        assert len(session.turn_ns(1, 1_000_000, 7)) >= 7 and session.time_ns() > 0
        session.close()
        with pytest.raises(BadInput) as said_here:
            here.load(b"no model")
        with pytest.raises(BadInput) as said_there:
            there.load(b"no model")
        assert said_there.value.what == said_here.value.what
        there.load(model)  # a refusal does not end it


def test_a_model_that_aborts_its_library_is_refused(tmp_path: Path, model: bytes) -> None:
    (tmp_path / "crashing.py").write_text(CRASHING)
    with closing(Apart(CPU.model_copy(update={"runtime": str(tmp_path / "crashing.py")}))) as process:
        process.load(model)
        with pytest.raises(BadInput, match="crashes"):
            process.load(b"deadly")


def test_what_is_not_timed_here_stays_where_it_is() -> None:
    estimate = type("Estimate", (type(open_runtime(CPU)),), {"estimate": True})(CPU)
    for runtime in (estimate, open_runtime(CPU.model_copy(update={"device": "phone", "host": "ssh://phone"}))):
        with fresh(runtime) as same:
            assert same is runtime


def test_each_part_of_a_profile_has_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Counted(Apart):
        def __init__(self, target: Target) -> None:
            super().__init__(target)
            started.append(self)

    monkeypatch.setattr(apart, "Apart", Counted)
    settings = ProfileSettings(protocol=Protocol(rounds=5, extra_rounds=0, turn_ms=0.1), fitted=8, held_out=4)
    space = Mobile(Mobile.Settings(widths=(8, 8), depths=(1, 2), strides=(1, 2), resolution=16), channels=1, classes=10)
    Profiler(CPU, tmp_path, settings).profile(space)
    assert len(started) == 3  # operators, networks, the held-out ones again
    assert all(process._link.process.poll() is not None for process in started)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_it_ends_with_the_process_that_asks(tmp_path: Path) -> None:
    code = (
        "import os, signal; from hwnas.devices.apart import Apart; from hwnas.core.target import Target\n"
        "process = Apart(Target(name='here', runtime='onnxruntime'))\n"
        "print(process._link.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    child, end = Path("/proc") / done.stdout.strip(), monotonic() + 20
    while child.exists() and "\nState:\tZ" not in (child / "status").read_text():
        assert monotonic() < end
        sleep(0.05)
