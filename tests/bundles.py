"""Bundles of tiny networks, and how somebody spoils one who wants it believed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from hwnas.core.files import sha256
from hwnas.core.target import Target
from hwnas.deploy.bundle import Contents, write_bundle
from hwnas.deploy.card import Card
from hwnas.deploy.preprocessing import Preprocessing
from hwnas.deploy.samples import SAMPLES, Samples
from hwnas.devices import open_runtime
from hwnas.exporters import DEPLOYED
from hwnas.exporters.onnx import to_onnx
from hwnas.latency.fingerprint import fingerprint
from hwnas.run.formats import exporter_for
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.space import perturbed

CLASSES = tuple(f"class {number}" for number in range(10))
PREPROCESSING = Preprocessing(mean=(0.5, 0.4, 0.6), std=(0.25, 0.2, 0.3), resolution=16)


def tiny_network() -> tuple[Mobile, nn.Module]:
    torch.manual_seed(0)
    settings = MobileSettings(resolution=16, widths=(8,), depths=(2,), strides=(2,), head_width=16)
    space = Mobile(settings, channels=3, classes=10)
    return space, perturbed(space.build(space.reference())).eval()


def write(
    folder: Path,
    target: Target,
    exporters: Sequence[str] = (),
    class_names: tuple[str, ...] = CLASSES,
    rows: dict[str, str] | None = None,
) -> Path:
    """A sound bundle, with a budget that any machine meets."""
    space, network = tiny_network()
    pixels = torch.randint(0, 256, (SAMPLES, 3, 16, 16), dtype=torch.uint8)
    samples = Samples.of(network, pixels, PREPROCESSING.inputs(pixels))
    runtime = open_runtime(target)
    exact = to_onnx(network, samples.inputs, PREPROCESSING.metadata(class_names))
    formats = {}
    for name in dict.fromkeys([DEPLOYED[target.precision], "onnx", *exporters]):
        exporter = exporter_for(name, runtime)
        files = exporter.convert(exact, samples.inputs.numpy())
        formats[name] = dict(zip((exporter.filename, *exporter.companions), files, strict=True))
    facts = {
        "schema_version": 1,
        "deployed": next(iter(formats[DEPLOYED[target.precision]])),
        "target": target.model_dump(mode="json"),
        "fingerprint": dict(fingerprint(runtime).identity),
        "predicted_ms": 1.0,
        "budget": "1000ms",
        "budget_ms": 1000.0,
        "accuracy": 0.1,
        "preprocessing": PREPROCESSING.model_dump(mode="json"),
        "class_names": list(class_names),
    }
    card = Card("tiny network", rows or {"data": "noise"}, PREPROCESSING, class_names, SAMPLES, {})
    arch = {"arch": list(space.reference())}
    write_bundle(folder, Contents(formats, network.state_dict(), arch, samples, facts, card))
    return folder


def edit(bundle: Path, **facts: Any) -> None:
    """Change the manifest; files' hashes are made right again."""
    manifest = json.loads((bundle / "manifest.json").read_text()) | facts
    if "files" not in facts:
        manifest["files"] = {name: sha256(bundle / name) for name in manifest["files"] if (bundle / name).exists()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def with_metadata(model: bytes, metadata: dict[str, str]) -> bytes:
    proto = onnx.load_model_from_string(model)
    del proto.metadata_props[:]
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return proto.SerializeToString()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
