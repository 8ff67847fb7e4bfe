"""NVIDIA's GPU of this machine, asked of its own tool."""

import os
import subprocess

from hwnas.core.errors import Unavailable

_SECONDS = 30


def nvidia_gpu() -> tuple[str, str]:
    """(name, driver version) of the GPU that CUDA programs of this process see first. Raises Unavailable."""
    name, driver = _ask("name", "driver_version")
    return name, driver


def compute_capability() -> str:
    """Of the same GPU, e.g. "9.0". Raises Unavailable."""
    return _ask("compute_cap")[0]


def _ask(*fields: str) -> list[str]:
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    command = ["nvidia-smi", f"--id={first}", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout
        found = said.strip().split(", ")
        if len(found) != len(fields):
            raise ValueError(said[:100])
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Unavailable("there is no NVIDIA GPU here: nvidia-smi finds none", "install NVIDIA's driver") from error
    return found
