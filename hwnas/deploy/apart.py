"""A file's answers, computed in a process of its own: some libraries abort on files that nobody checked.

    python -m hwnas.deploy.apart TARGET together|alone FILE …     in a folder that holds the files and inputs.npy

It imports no more than the runtime does, so it starts within a second.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hwnas.core.errors import BadInput, HwnasError, Unavailable
from hwnas.core.target import Target
from hwnas.deploy.answers import Answers, answers
from hwnas.devices import open_runtime

_SECONDS = 1800


def answers_apart(target: Target, files: dict[str, bytes], inputs: np.ndarray, alone: bool) -> Answers:
    """As `answers`. `target`: of this machine; `files`: as an exporter wrote them for its runtime.

    Raises what the runtime raises, and BadInput when the process dies or takes half an hour.
    """
    first = next(iter(files))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        np.save(folder / "inputs.npy", inputs)
        how = "alone" if alone else "together"
        command = [sys.executable, "-m", __name__, target.model_dump_json(), how, *files]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise BadInput(f"{first} gave no answers in {_SECONDS} s") from error
        if (folder / "fault.json").exists():
            fault = json.loads((folder / "fault.json").read_text())
            raise (Unavailable if fault["exit_code"] == Unavailable.exit_code else BadInput)(*fault["text"])
        if done.returncode:
            raise BadInput(f"{first} crashes the library that reads it (exit code {done.returncode})")
        with np.load(folder / "answers.npz") as found:
            return tuple(found[name] for name in found.files)


def _main(target: str, how: str, *names: str) -> None:
    try:
        session = open_runtime(Target.model_validate_json(target)).load_exported(*(Path(n).read_bytes() for n in names))
        found = answers(session, np.load("inputs.npy"), how == "alone")
    except HwnasError as error:
        fault = {"exit_code": error.exit_code, "text": [error.what, error.mend]}
        Path("fault.json").write_text(json.dumps(fault))
        return
    np.savez("answers.npz", *found)


if __name__ == "__main__":
    _main(*sys.argv[1:])
