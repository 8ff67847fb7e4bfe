"""The `ssh` command that starts the worker, and what its failures mean."""

import shlex
from hashlib import sha256
from urllib.parse import urlsplit

from hwnas.core.errors import Unavailable

_START = (
    "import hashlib,json,sys,types;"
    "source=sys.stdin.buffer.read({size});"
    "hashlib.sha256(source).hexdigest()=='{digest}' or sys.exit('the worker arrived damaged');"
    "[exec(compile(text,name+'.py','exec'),sys.modules.setdefault(name,types.ModuleType(name)).__dict__)"
    " for name,text in json.loads(source)];"
    "sys.modules['serve'].main()"
)
_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",  # a cut cable shows within 15 s
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ClearAllForwardings": "yes",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}


def command(host: str, python: str, worker: bytes) -> list[str]:
    """Runs the worker that is written to it first, on `host` (ssh://user@name:port)."""
    code = _START.format(size=len(worker), digest=sha256(worker).hexdigest())
    remote = f"{shlex.quote(python)} -u -c {shlex.quote(code)}"
    options = [part for key, value in _OPTIONS.items() for part in ("-o", f"{key}={value}")]
    return ["ssh", "-T", *options, *_address(host), remote]


def explained(host: str, reason: str) -> Unavailable:
    """What ssh said when it could not connect, and the mend."""
    address = " ".join(_address(host))
    if "IDENTIFICATION HAS CHANGED" in reason:
        what = f"{host} has another host key than the one you know: a new installation, or somebody in between"
        return Unavailable(what, f"ask whoever keeps it; if it is right: ssh-keygen -R {_known_as(host)}")
    if "ost key verification failed" in reason:
        what = f"the host key of {host} is unknown, and an unknown host is not trusted"
        return Unavailable(
            what, f"ssh {address} true   # once: compare the fingerprint with the device's, and accept it"
        )
    if "ermission denied" in reason:
        what = f"{host} lets nobody in without a password ({reason[-200:]})"
        return Unavailable(what, f"ssh-copy-id {address}")
    if "not found" in reason or "No such file" in reason:
        return Unavailable(
            f"{host}: {reason[-200:]}", "name the device's Python in the profile: `options: {python: …}`"
        )
    return Unavailable(f"cannot reach {host}: {reason[-300:]}", f"try it by hand: ssh {address} true")


def _address(host: str) -> list[str]:
    parts = urlsplit(host)
    user = f"{parts.username}@" if parts.username else ""
    port = ["-p", str(parts.port)] if parts.port else []
    return [*port, f"{user}{parts.hostname}"]


def _known_as(host: str) -> str:
    parts = urlsplit(host)
    return f"'[{parts.hostname}]:{parts.port}'" if parts.port else str(parts.hostname)
