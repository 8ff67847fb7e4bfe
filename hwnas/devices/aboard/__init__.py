"""What travels to a device, beside core/machine.py: files that import one another by bare name, and never hwnas.

They need Python 3.8 and the device's runtime. On the device they lie in one folder, so `hwnas` reads them but never
imports them.
"""

import json
from pathlib import Path

from hwnas.core import machine
from hwnas.core.errors import BadInput
from hwnas.core.target import Target

_FOLDER = Path(__file__).parent


def require(target: Target) -> None:
    """Raises BadInput for a runtime or a provider that cannot travel."""
    known = sorted(path.stem.removeprefix("on_") for path in _FOLDER.glob("on_*.py"))
    if target.runtime not in known:
        raise BadInput(f"hwnas cannot run {target.runtime} on another device", f"known: {', '.join(known)}")
    if target.runtime == "onnxruntime" and target.provider not in ("", "CPUExecutionProvider"):
        raise BadInput(
            f"hwnas times onnxruntime's {target.provider} only where it runs", "install hwnas on that device"
        )


def sources(runtime: str, program: str) -> dict[str, bytes]:
    """File name → content of all that `program` needs there, each before those that import it."""
    names = ("graphs.py", f"on_{runtime}.py", program)
    return {file.name: file.read_bytes() for file in (Path(machine.__file__), *(_FOLDER / name for name in names))}


def as_stdin(runtime: str, program: str) -> bytes:
    """The same for a Python on the device that reads its program from stdin: [[module, source]…]."""
    files = sources(runtime, program)
    return json.dumps([[name.removesuffix(".py"), text.decode()] for name, text in files.items()]).encode()
