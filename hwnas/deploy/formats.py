"""The formats that a bundle holds, and what each computes: on the target, on this machine, or nowhere here."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.plugins import load, names
from hwnas.core.target import Target
from hwnas.deploy.answers import Answers, answers
from hwnas.devices import open_runtime
from hwnas.devices.apart import Apart
from hwnas.exporters import Exporter


@dataclass(frozen=True)
class Format:
    """`name`: the exporter's; `files`: name → content, the one that is loaded first; `deployed`: the target runs it."""

    name: str
    exporter: type[Exporter]
    files: dict[str, bytes]
    deployed: bool = False

    @property
    def filename(self) -> str:
        return next(iter(self.files))

    def answers(self, target: Target, inputs: np.ndarray, alone: bool) -> Answers:
        """The deployed file answers on the target, others on this machine. Raises BadInput, Unavailable."""
        here = target if self.deployed else self.exporter.runs_on(target)
        runtime = open_runtime(here)
        if self.filename.endswith(".onnx"):
            with closing(runtime.load(self.files[self.filename])) as session:
                return answers(session, inputs, alone)
        with closing(Apart(here)) as apart:
            return answers(apart.load_exported(*self.files.values()), inputs, alone)


def open_formats(
    listed: Mapping[str, tuple[str, ...]], contents: Mapping[str, bytes], deployed: str
) -> tuple[list[Format], dict[str, str]]:
    """The formats that can be read here, and the first file of each that cannot, with why. `listed`: exporter → files.

    Raises BadInput when a format's files are not those that its exporter writes.
    """
    found, unread = [], {}
    for name, files in listed.items():
        if name not in names("exporters"):  # the path of a Python file too: that would run anybody's code
            unread[files[0]] = f"made by '{name[:80]}', which hwnas does not have"
            continue
        try:
            exporter = load("exporters", name)
        except Unavailable as error:
            unread[files[0]] = f"{error.what}: {error.mend}"
            continue
        if files != (exporter.filename, *exporter.companions):
            raise BadInput(f"the manifest gives {name} the files {', '.join(files)[:200]}", "export the network again")
        found.append(Format(name, exporter, {file: contents[file] for file in files}, files[0] == deployed))
    return found, unread
