import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwnas.core.errors import StorageFailed
from hwnas.core.files import sha256, sweep, write_atomic


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(first=st.binary(max_size=5000), second=st.binary(max_size=5000))
def test_the_last_write_is_what_is_there(tmp_path: Path, first: bytes, second: bytes):
    file = tmp_path / "folder" / "file"
    write_atomic(file, first)
    write_atomic(file, second)
    assert file.read_bytes() == second
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch, step: str):
    file = tmp_path / "file"
    write_atomic(file, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(StorageFailed, match="No space left") as refused:
        write_atomic(file, "new")
    assert refused.value.exit_code == 2
    assert "free some space" in refused.value.mend
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_outgrows_a_real_disk(small_disk):
    disk = small_disk("64k")
    write_atomic(disk / "file", b"old" * 1000)
    with pytest.raises(StorageFailed):
        write_atomic(disk / "file", os.urandom(100_000))
    assert (disk / "file").read_bytes() == b"old" * 1000
    assert list(disk.iterdir()) == [disk / "file"]
    write_atomic(disk / "file", b"new")
    assert (disk / "file").read_bytes() == b"new"


_KILLED = """
import os, signal, sys
from pathlib import Path
from hwnas.core.files import write_atomic
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path(sys.argv[1]), "new")
"""


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path: Path):
    file = tmp_path / "deep" / "file"
    write_atomic(file, "old")
    (tmp_path / ".mine").write_text("a user's")
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(file.parent.iterdir())) == 2
    sweep(tmp_path)
    assert list(file.parent.iterdir()) == [file] and file.read_text() == "old"
    assert (tmp_path / ".mine").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(StorageFailed):
        write_atomic(tmp_path / "taken" / "file", "new")


def test_sha256_sees_every_byte(tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    assert sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
