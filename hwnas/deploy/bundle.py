"""The folder a user ships: the network in every format asked for, its weights, samples to check it by, a model card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from hwnas.core.files import sha256, write_atomic
from hwnas.deploy.card import Card, model_card
from hwnas.deploy.manifest import MANIFEST
from hwnas.deploy.samples import Samples


@dataclass(frozen=True)
class Contents:
    """`formats`: exporter → its files, name → bytes; `facts`: the manifest without files and formats."""

    formats: dict[str, dict[str, bytes]]
    weights: dict[str, Tensor]
    arch: dict[str, Any]
    samples: Samples
    facts: dict[str, Any]
    card: Card


def write_bundle(folder: Path, contents: Contents) -> None:
    """The manifest is written last: a bundle with a manifest is whole. Raises StorageFailed."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for files in contents.formats.values():
        for name, data in files.items():
            write_atomic(folder / name, data)
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in contents.weights.items()
    }
    write_atomic(folder / "weights.safetensors", safetensors.torch.save(weights))
    write_atomic(folder / "arch.json", json.dumps(contents.arch, indent=1) + "\n")
    write_atomic(folder / "samples.safetensors", contents.samples.to_bytes())
    write_atomic(folder / "README.md", model_card(contents.card, contents.formats))
    formats = {exporter: list(files) for exporter, files in contents.formats.items()}
    write_manifest(folder, contents.facts | {"formats": formats})


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """With the sha256 of every file that is there. Raises StorageFailed."""
    present = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != MANIFEST)
    files = {path.name: sha256(path) for path in present}
    write_atomic(folder / MANIFEST, json.dumps(facts | {"files": files}, indent=1) + "\n")
