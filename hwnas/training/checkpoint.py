"""Checkpoints: safetensors with a little JSON, written atomically. Never a pickle."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.core.files import write_atomic

Tensors = dict[str, Tensor]


def save(path: Path, groups: dict[str, Tensors], facts: dict[str, Any]) -> None:
    """`groups`: e.g. {"model": state_dict, "momentum": {...}}; `facts`: JSON-able."""
    flat = {
        f"{group}/{key}": t.detach().cpu().contiguous().clone() for group, ts in groups.items() for key, t in ts.items()
    }
    write_atomic(path, safetensors.torch.save(flat, metadata={"facts": json.dumps(facts, sort_keys=True)}))


def load(path: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """Raises BadInput when the file is damaged."""
    return parse(read(path), path)


def read(path: Path) -> bytes:
    """Raises BadInput."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, error) from error


def parse(content: bytes, path: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """As `load`, of a file that was read already."""
    groups: dict[str, Tensors] = {}
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # its length comes first
        facts = json.loads(header["__metadata__"]["facts"])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    for name, tensor in sorted(tensors.items()):  # the library's order is another one in every process
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = tensor
    return groups, facts


def _damaged(path: Path, error: Exception) -> BadInput:
    return BadInput(f"the checkpoint {path} is damaged: {error}", f"rm {path} and run the same command again")


def momentum_of(optimizer: torch.optim.SGD, network: nn.Module) -> Tensors:
    """Momentum buffers by parameter name; parameters never touched have none."""
    states = ((name, optimizer.state.get(p, {}).get("momentum_buffer")) for name, p in network.named_parameters())
    return {name: buffer for name, buffer in states if buffer is not None}


def restore_momentum(optimizer: torch.optim.SGD, network: nn.Module, buffers: Tensors) -> None:
    for name, parameter in network.named_parameters():
        if name in buffers:
            optimizer.state[parameter]["momentum_buffer"] = buffers[name].to(parameter.device)
