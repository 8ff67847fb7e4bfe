"""The device that trains, and the ranks that train with it."""

import contextlib

import torch

from hwnas.core.errors import Unavailable
from hwnas.core.machine import cores
from hwnas.training.ranks import Ranks, here
from hwnas.training.settings import Compute


class Device:
    """Of several ranks on one machine, each has a GPU of its own, or its share of the cores. Raises Unavailable when
    CUDA is asked for and not here, or has too few GPUs."""

    def __init__(self, compute: Compute) -> None:
        if compute.device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("compute.device is cuda, but torch finds no CUDA device", "--set compute.device=cpu")
        use_cuda = compute.device == "cuda" or (compute.device == "auto" and torch.cuda.is_available())
        self.ranks = here()
        self.norm_ranks = self.ranks if compute.batch_norm == "together" else Ranks()
        self.torch = torch.device("cuda" if use_cuda else "cpu")
        self.bf16 = compute.bf16
        if use_cuda:
            torch.backends.cudnn.benchmark = True  # shapes stay the same, so trying every algorithm once pays
            self._take_own_gpu()
        torch.set_num_threads(compute.threads or max(1, cores() // self.ranks.beside))

    def _take_own_gpu(self) -> None:
        if self.ranks.beside > (count := torch.cuda.device_count()):
            what = f"{self.ranks.beside} ranks on this machine want a GPU each, and it has {count}"
            raise Unavailable(what, f"torchrun --nproc-per-node {count}")
        if self.ranks.size > 1:
            self.torch = torch.device("cuda", self.ranks.local)
            torch.cuda.set_device(self.torch)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """bfloat16 arithmetic where asked for; weights and batch-norm statistics stay float32."""
        # Each weight is used once a pass: nothing to cache, and a captured CUDA graph must not.
        return torch.autocast(self.torch.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False)
