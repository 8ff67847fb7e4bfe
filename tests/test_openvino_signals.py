"""Signals still arrive where OpenVINO was used."""

import subprocess
import sys

import pytest

TWO_RUNTIMES = """
import gc, os, signal
from hwnas.core.target import load_target
from hwnas.devices import open_runtime
signal.signal(signal.SIGCHLD, lambda *_: print("arrived"))
first, second = open_runtime(load_target("openvino")), open_runtime(load_target("openvino"))
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGCHLD)
"""


def test_a_signal_does_not_kill_a_process_whose_runtimes_have_gone() -> None:
    pytest.importorskip("openvino", reason="needs openvino")
    run = subprocess.run([sys.executable, "-c", TWO_RUNTIMES], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and "arrived" in run.stdout, f"{run.returncode} {run.stderr}"
