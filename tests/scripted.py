"""An estimator that is told how to misbehave. `--set estimator.name=scripted.py`, copied beside the test's files."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import derive
from hwnas.search.estimators import Estimator, Means


class ScriptedSettings(Settings):
    seconds: float = 0.0
    """Of every answer."""
    poison: int | None = None
    """The first option of architectures that do what `how` says."""
    how: str = ""


class Scripted(Estimator):
    """Writes (arch, its process) into asked.log before every answer."""

    Settings = ScriptedSettings

    def __init__(self, means: Means, settings: Any) -> None:
        self.settings = settings

    def accuracy(self, arch: Arch) -> float:
        with Path("asked.log").open("a") as log:
            log.write(f"{'.'.join(map(str, arch))} {os.getpid()}\n")
        time.sleep(self.settings.seconds)
        if self.settings.poison == arch[0]:
            match self.settings.how:
                case "crash":
                    os.kill(os.getpid(), signal.SIGSEGV)
                case "memory":
                    np.ones(2**33)  # 64 GiB
                case "hang":
                    time.sleep(600)
        return derive(0, *arch) / 2**63
