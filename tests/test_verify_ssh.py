"""A bundle is verified on a device at the other end of an SSH connection: this machine."""

import sys
from pathlib import Path

import pytest
import yaml
from bundles import edit, write
from ssh_server import serving

from hwnas.core.errors import BadInput
from hwnas.core.target import Target, load_target
from hwnas.deploy.verify import verify_bundle


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The path of a profile."""
    (tmp_path / "ssh").mkdir()
    with serving(tmp_path / "ssh") as ssh:
        monkeypatch.setenv("PATH", str(ssh.client), prepend=":")
        profile = {"name": "board", "device": "named", "runtime": "onnxruntime", "host": ssh.host, "threads": 1}
        profile["options"] = {"python": sys.executable, "timeout_seconds": 60}
        (tmp_path / "board.yaml").write_text(yaml.safe_dump(profile))
        yield str(tmp_path / "board.yaml")


def test_the_deployed_file_answers_and_is_timed_there(board: str, tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", load_target("cpu"))
    outcome = verify_bundle(bundle, board)
    outcome.raise_for_failure()
    latency = outcome.checks[-1]
    assert latency.name == "latency" and " ms on board " in latency.detail

    edit(bundle, budget_ms=1e-6)
    assert [check.name for check in verify_bundle(bundle, board).checks if not check.ok] == ["latency"]
    edit(bundle, budget_ms=1000.0, target=Target(**yaml.safe_load(Path(board).read_text())).model_dump(mode="json"))
    with pytest.raises(BadInput, match="--target"):
        verify_bundle(bundle)  # its author must not choose what is connected to
