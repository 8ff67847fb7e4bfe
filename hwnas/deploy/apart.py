"""A file's answers, computed in a process of its own: some libraries abort on files that nobody checked.

python -m hwnas.deploy.apart EXPORTER TARGET     in a folder that holds the files and inputs.npy
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hwnas.core.errors import BadInput, HwnasError, Unavailable
from hwnas.core.plugins import load
from hwnas.core.target import Target
from hwnas.deploy.parity import answers
from hwnas.devices import open_runtime

_SECONDS = 1800


def answers_apart(
    exporter: str, target: Target, files: dict[str, bytes], inputs: np.ndarray, alone: bool
) -> tuple[np.ndarray, np.ndarray]:
    """As `parity.answers`; without `alone` in batches, the same twice. `exporter`: whose `files` these are;
    `target`: of this machine.

    Raises what the runtime raises, and BadInput when the process dies or takes half an hour.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        np.save(folder / "inputs.npy", inputs)
        command = [sys.executable, "-m", __name__, exporter, target.model_dump_json(), *["alone"] * alone]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise BadInput(f"{next(iter(files))} gave no answers in {_SECONDS} s") from error
        if (folder / "fault.json").exists():
            fault = json.loads((folder / "fault.json").read_text())
            raise (Unavailable if fault["exit_code"] == Unavailable.exit_code else BadInput)(*fault["text"])
        if done.returncode:
            raise BadInput(f"{next(iter(files))} crashed the library that reads it (exit code {done.returncode})")
        return np.load(folder / "together.npy"), np.load(folder / "alone.npy")


def _main(exporter_name: str, target: str, *alone: str) -> None:
    exporter = load("exporters", exporter_name)
    folder, inputs = Path.cwd(), np.load("inputs.npy")
    files = [(folder / name).read_bytes() for name in (exporter.filename, *exporter.companions)]
    try:
        session = open_runtime(Target.model_validate_json(target)).load_exported(*files)
        together, single = answers(session, inputs, bool(alone))
    except HwnasError as error:
        fault = {"exit_code": error.exit_code, "text": [error.what, error.mend]}
        (folder / "fault.json").write_text(json.dumps(fault))
        return
    np.save("together.npy", together)
    np.save("alone.npy", single)


if __name__ == "__main__":
    _main(*sys.argv[1:])
