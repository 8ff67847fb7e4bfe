"""A target: a device with a runtime and a precision, described by `profiles/<name>.yaml`."""

import difflib
import re
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field

from hwnas.core.config import Settings, read_yaml, validate
from hwnas.core.errors import BadInput

Precision = Literal["fp32", "fp16", "int8"]
_HOST = (
    r"^$|^adb://[A-Za-z0-9][A-Za-z0-9._:-]*$"
    r"|^ssh://([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?$"
)
"""Strict, because it ends up on a command line."""


class Target(Settings):
    """Where a network will run. `threads` 0 means all cores this process may use.

    `device` "local" means whatever machine this is: its table is measured here, again when the machine changed. A
    named device keeps its committed table, which is refused on any other machine. "imported": its table was published
    by others, and nothing can be measured on it. `host` says how it is reached: empty for this machine,
    `ssh://user@host:port`, or `adb://serial`. `options` are the runtime's own (`Runtime.Options`).
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    device: Literal["local", "named", "imported"] = "local"
    runtime: str
    provider: str = ""
    precision: Precision = "fp32"
    threads: int = Field(default=1, ge=0)
    batch: int = Field(default=1, ge=1)
    host: str = Field(default="", pattern=_HOST)
    options: dict[str, bool | int | float | str] = {}


def load_target(name: str) -> Target:
    """A target by name, by the path of its YAML file, or `ssh://user@host`, a board that has no profile yet.

    Raises BadInput with the near match.
    """
    if name.startswith("ssh://"):
        host = re.sub(r"[^a-z0-9._]+", "-", name.removeprefix("ssh://").rpartition("@")[2].lower()).strip("-._")
        return validate(Target, {"name": host, "device": "named", "runtime": "onnxruntime", "host": name}, name)
    if name.endswith((".yaml", ".yml")):
        return validate(Target, read_yaml(Path(name)), name)
    for folder in _folders():
        path = folder / f"{name}.yaml"
        if path.is_file():
            return validate(Target, read_yaml(path), str(path))
    near = difflib.get_close_matches(name, target_names(), 1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise BadInput(
        f"there is no target '{name}'",
        f"{hint}known: {', '.join(target_names())}; or write profiles/{name}.yaml (docs/my-device.md)",
    )


def target_names() -> list[str]:
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")})


def _folders() -> list[Path]:
    """The user's own profiles first, then those shipped with the package, then the source tree's."""
    package = Path(str(files("hwnas")))
    candidates = [Path("profiles"), package / "profiles", package.parent / "profiles"]
    return [folder for folder in candidates if folder.is_dir()]
