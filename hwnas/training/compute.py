"""The device that trains."""

import contextlib

import torch

from hwnas.core.errors import Unavailable
from hwnas.core.machine import cores
from hwnas.training.settings import Compute


class Device:
    """Raises Unavailable when CUDA is asked for and not here."""

    def __init__(self, compute: Compute) -> None:
        if compute.device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("compute.device is cuda, but torch finds no CUDA device", "--set compute.device=cpu")
        use_cuda = compute.device == "cuda" or (compute.device == "auto" and torch.cuda.is_available())
        self.torch = torch.device("cuda" if use_cuda else "cpu")
        self.bf16 = compute.bf16
        if use_cuda:
            torch.backends.cudnn.benchmark = True  # shapes stay the same, so trying every algorithm once pays
        torch.set_num_threads(compute.threads or cores())

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """bfloat16 arithmetic where asked for; weights and batch-norm statistics stay float32."""
        # Each weight is used once a pass: nothing to cache, and a captured CUDA graph must not.
        return torch.autocast(self.torch.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False)
