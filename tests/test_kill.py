import subprocess
import sys
from pathlib import Path

import pytest

KILL = Path(__file__).parent.parent / "benchmarks" / "kill.py"


@pytest.mark.slow
def test_killed_runs_end_as_the_uninterrupted_one():
    command = [sys.executable, str(KILL), "--kills", "4", "--seed", "7"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "4 kills, 0 unreadable run directories, 0 failures" in process.stdout
