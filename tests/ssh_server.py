"""A real SSH server on this machine: OpenSSH's where it is installed, else asyncssh's in a process of its own."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Server:
    """`host`: its ssh:// address. `client`: a folder whose `ssh` is the system's, with keys of the test's own."""

    host: str
    client: Path
    known_hosts: Path


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    if not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        pytest.skip("needs OpenSSH's client")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    client = _client(folder)
    with _openssh(folder, port) if SSHD else _asyncssh(folder, port):
        _wait(port)
        yield Server(f"ssh://{getpass.getuser()}@127.0.0.1:{port}", client, folder / "known_hosts")


def _client(folder: Path) -> Path:
    """ssh takes its home from the system's user database, so a test cannot give it another; a wrapper can."""
    (folder / "bin").mkdir()
    ours = f"-F none -i {folder / 'user'} -o IdentitiesOnly=yes -o UserKnownHostsFile={folder / 'known_hosts'}"
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {ours} "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    return folder / "bin"


@contextlib.contextmanager
def _openssh(folder: Path, port: int) -> Iterator[None]:
    settings = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PasswordAuthentication": "no",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
    }
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own, made by its service elsewhere
    server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def _asyncssh(folder: Path, port: int) -> Iterator[None]:
    pytest.importorskip("asyncssh", reason="needs openssh-server, or asyncssh")
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("ssh_daemon.py")), str(folder), str(port)])
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def _wait(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.fail("the SSH server did not come up")
