"""NVIDIA's GPU of this machine, asked of its own tool."""

import os
import subprocess

from hwnas.core.errors import Unavailable

_SECONDS = 30


def nvidia_gpu() -> tuple[str, str]:
    """(name, driver version) of the GPU that CUDA programs of this process see first. Raises Unavailable."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    command = ["nvidia-smi", f"--id={first}", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout
        name, driver = said.strip().split(", ")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Unavailable("there is no NVIDIA GPU here: nvidia-smi finds none", "install NVIDIA's driver") from error
    return name, driver
