"""The processes that train one network together, as torchrun started them. A process by itself is the only rank.

Every rank runs the same program: one seed draws the same paths everywhere, each rank takes its slice of the same batch,
and whatever is decided by is averaged first, so that it is the same number on each. What cannot be computed alone,
because it is measured or read from disk, rank 0 finds and tells: it alone reads and writes the run directory.
"""

import atexit
import json
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.journal import Journal, Replica
from hwnas.core.progress import be_quiet
from hwnas.spaces import Gates
from hwnas.training import checkpoint

_PATIENCE = timedelta(days=7)
"""How long the others wait for what rank 0 measures. When it dies, torchrun ends them at once."""


class Ranks:
    """`rank` of `size`; `local` of `beside`: among those on this machine. `writer`: whether this one has the run
    directory, and speaks."""

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0, beside: int = 1) -> None:
        self.rank, self.size, self.local, self.beside = rank, size, local, beside
        self.writer = rank == 0
        self._telling: Any = dist.new_group(backend="gloo", timeout=_PATIENCE) if size > 1 else None

    def slice_of(self, batch: int) -> slice:
        """This rank's part of a batch. Raises BadInput when the parts would not be equal."""
        if batch % self.size:
            near = max(1, round(batch / self.size)) * self.size
            what = f"a batch of {batch} does not divide among {self.size} ranks"
            raise BadInput(what, f"--set search.batch_size={near}, or training.batch_size; or another --nproc-per-node")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """In place, over the ranks: one message for all. They are as many and as large on each."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def mean(self, value: Tensor) -> Tensor:
        """Of a scalar that each rank computed from its slice; its gradient there is that of the rank's own."""
        return value if self.size == 1 else _Mean.apply(value, self)  # type: ignore[return-value]

    def replicated(self, gates: Gates) -> Gates:
        """Equal on every rank; the gradient that reaches them is the mean of the ranks'. They are on the CPU."""
        learned = [w for paths in gates.values() for w in paths.values() if w is not None and w.requires_grad]
        if self.size == 1 or not learned:
            return gates
        equal = dict(zip(map(id, learned), _Replicated.apply(self, *learned), strict=True))
        return {c: {o: equal.get(id(w), w) for o, w in paths.items()} for c, paths in gates.items()}

    def sums(self, *numbers: float) -> list[float]:
        """Of each number, over the ranks."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    @torch.no_grad()
    def total(self, tensor: Tensor) -> None:
        """In place, the sum over the ranks."""
        dist.all_reduce(tensor)

    def gathered(self, tensor: Tensor) -> Tensor:
        """[ranks, …]"""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor)
        return torch.stack(parts)

    def require_agreement(self, tensors: Sequence[Tensor]) -> None:
        """Raises BadInput, on every rank, when they do not hold the same numbers: then paths would part as well."""
        if self.size == 1:
            return
        mine = torch.stack([tensor.detach().double().nan_to_num(0, 0, 0).sum().cpu() for tensor in tensors]).sum()
        if len(set(self.gathered(mine).tolist())) > 1:
            what = "the ranks no longer hold the same weights: their arithmetic differs"
            raise BadInput(what, "give the ranks equal machines, and equal versions of torch")

    def told(self, find: Callable[[], Any]) -> Any:
        """What rank 0 finds, JSON-able. The others wait for it."""
        if self.size == 1:
            return find()
        return json.loads(self._sent(lambda: json.dumps(find()).encode()))

    def journal(self, path: Path) -> Journal:
        """Rank 0's, or what replays it."""
        own = Journal(path) if self.writer else None
        records = self.told(lambda: own.records if own else [])
        return Replica(path, records) if own is None else own

    def save(self, path: Path, groups: dict[str, checkpoint.Tensors], facts: dict[str, Any]) -> None:
        """A checkpoint of what all hold alike."""
        if self.writer:
            checkpoint.save(path, groups, facts)

    def load(self, path: Path) -> tuple[dict[str, checkpoint.Tensors], dict[str, Any]] | None:
        """The checkpoint that rank 0 has; None where it has none. Raises BadInput when it is damaged."""
        if not self.told(path.exists):
            return None
        return checkpoint.parse(self._sent(lambda: checkpoint.read(path)), path)

    def _sent(self, find: Callable[[], bytes]) -> bytes:
        if self.size == 1:
            return find()
        content = find() if self.writer else b""
        length = torch.tensor([len(content)])
        dist.broadcast(length, 0, group=self._telling)
        message = torch.empty(int(length), dtype=torch.uint8)
        if content:
            message.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        dist.broadcast(message, 0, group=self._telling)
        return message.numpy().tobytes()


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, ranks: Ranks) -> Tensor:
        mean = value.clone()
        ranks.average([mean])
        return mean

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Replicated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ranks: Ranks, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.ranks = ranks
        return tuple(weight.view_as(weight) for weight in weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        means = [gradient.double() for gradient in gradients]
        ctx.ranks.average(means)
        return None, *(mean.to(gradient.dtype) for mean, gradient in zip(means, gradients, strict=True))


@cache
def here() -> Ranks:
    """Those of this process: all that torchrun started, else itself alone.

    Raises Unavailable when torchrun was asked for restarts that cannot work.
    """
    if not dist.is_available() or not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        return Ranks()
    from torch.distributed.rendezvous import rendezvous  # torch may have been built without

    # torchrun's own store outlives a restart, and with it the addresses of the ranks that died. Under the restart's
    # number they are fresh, but each machine counts its own restarts.
    restart, one_machine = _launched("RESTART_COUNT"), os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]
    if not one_machine and _launched("MAX_RESTARTS") != "0" and _launched("USE_AGENT_STORE") == "True":
        what = "after a restart, the ranks of several machines would look for those that died"
        raise Unavailable(what, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun …, or --max-restarts 0")
    store, rank, size = next(rendezvous("env://"))
    if one_machine:
        store = dist.PrefixStore(f"restart {restart}", store)  # type: ignore[reportPrivateImportUsage]
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    atexit.register(dist.destroy_process_group)
    if rank > 0:
        be_quiet(True)
    return Ranks(rank, size, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))


def _launched(name: str) -> str:
    return os.environ[f"TORCHELASTIC_{name}"]
