"""From trained networks to files, each checked for parity before anything is measured."""

from pathlib import Path

import torch
from torch import nn

from hwnas.core.plugins import load
from hwnas.core.target import Target
from hwnas.deploy.bundle import SAMPLES
from hwnas.deploy.parity import compare, corner_cases, logits_of, require_parity
from hwnas.devices import open_runtime
from hwnas.exporters import DEPLOYED
from hwnas.run.config import RunConfig
from hwnas.run.networks import Network
from hwnas.training.data import Data

Formats = dict[str, tuple[bytes, float | None]]
"""File name → (content, largest difference from the trained network's logits; None where ONNX Runtime cannot say)."""

CALIBRATION = 256
"""Training images: with 64, int8 costs a trained network of `mobile` 0.3 points, with 256 or 1000 nothing."""


def deployed_file(target: Target) -> str:
    """The name of the file that is measured, tested and meant to run there."""
    return load("exporters", DEPLOYED[target.precision]).filename


def export_all(
    networks: list[Network], modules: dict[str, nn.Module], config: RunConfig, data: Data, folder: Path
) -> dict[str, Formats]:
    """Every network as its target runs it; the winner in fp32 ONNX, and in every format asked for, as well.

    Raises VerificationFailed when a file computes something else.
    """
    runtime, here = open_runtime(config.target), open_runtime(Target(name="here", runtime="onnxruntime"))
    images = data.train.spread(CALIBRATION).contiguous()
    deployed = DEPLOYED[config.target.precision]
    exported: dict[str, Formats] = {}
    for network in networks:
        names = [deployed, "onnx", *config.exporters] if network.role == "winner" else [deployed]
        module = modules[network.role].cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        exported[network.role] = {}
        for name in dict.fromkeys(names):
            exporter = load("exporters", name)(runtime.int8_form)
            path = folder / network.role / exporter.filename
            exporter.export(module, images, path, _metadata(config, data))
            content, difference = path.read_bytes(), None
            if path.suffix == ".onnx":
                # Ten times too large inputs leave the range that int8 keeps, and nobody promised otherwise.
                samples = images[:SAMPLES] if exporter.agreement else corner_cases(images[:SAMPLES])
                judge = runtime if name == deployed else here
                parity = compare(type(exporter), judge, content, samples, logits_of(module, samples))
                require_parity(parity, type(exporter), exporter.filename)
                difference = parity.difference
            exported[network.role][exporter.filename] = (content, difference)
    return exported


def _metadata(config: RunConfig, data: Data) -> dict[str, str]:
    return {
        "hwnas.space": config.space.name,
        "hwnas.target": config.target.name,
        "class_names": "\n".join(data.class_names),
        "mean": ",".join(f"{v:.6f}" for v in data.mean.tolist()),
        "std": ",".join(f"{v:.6f}" for v in data.std.tolist()),
    }
