"""From trained networks to files, each checked for parity before anything is measured."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hwnas.core.errors import Unavailable
from hwnas.core.plugins import load
from hwnas.core.progress import say
from hwnas.core.target import Target
from hwnas.deploy.interface import interface_of
from hwnas.deploy.parity import compare_session, require_parity
from hwnas.deploy.samples import corner_cases, logits_of
from hwnas.devices import open_runtime
from hwnas.exporters import DEPLOYED, Exporter
from hwnas.run.config import RunConfig
from hwnas.run.formats import exporter_for, own_format
from hwnas.run.networks import Network
from hwnas.runtimes import Session
from hwnas.training.data import Data

CALIBRATION = 256
"""Training images, or words: with 64, int8 costs a trained network of `mobile` 0.3 points, with 256 or 1000 nothing."""


class Exported(NamedTuple):
    """A network in one format. `files`: name → content, the one that is loaded first. `difference`: largest, from the
    trained network's logits; None where nothing here runs the format: `unverified` says why.
    """

    files: dict[str, bytes]
    difference: float | None
    unverified: str = ""

    @property
    def content(self) -> bytes:
        return next(iter(self.files.values()))


Formats = dict[str, Exported]
"""By the exporter's name."""


def deployed_file(target: Target) -> str:
    """The name of the file that is measured, tested and meant to run there."""
    return load("exporters", DEPLOYED[target.precision]).filename


def export_all(
    networks: list[Network], modules: dict[str, nn.Module], config: RunConfig, data: Data, folder: Path
) -> dict[str, Formats]:
    """Every network as its target runs it; the winner in the target's own file format, in fp32 ONNX, and in every
    format asked for, as well.

    Raises VerificationFailed when a file computes something else.
    """
    runtime = open_runtime(config.target)
    deployed = DEPLOYED[config.target.precision]
    about = {"hwnas.space": config.space.name, "hwnas.target": config.target.name}
    exported: dict[str, Formats] = {}
    for network in networks:
        names = [deployed, *own_format(runtime), "onnx", *config.exporters] if network.role == "winner" else [deployed]
        module = modules[network.role].cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        inputs = network.space.seen(module, data.train.spread(CALIBRATION)).contiguous()
        interface = interface_of(data, tuple(inputs.shape[1:]))
        told = about | interface.metadata(data.class_names)
        exported[network.role] = {}
        for name in dict.fromkeys(names):
            exporter = exporter_for(name, runtime)
            files = _written(exporter, module, inputs, told, folder / network.role)
            try:
                session = runtime.load(files[exporter.filename]) if name == deployed else _opened(exporter, files)
            except Unavailable as error:
                say(f"{exporter.filename} stays unverified: {error.what}")
                exported[network.role][name] = Exported(files, None, error.what)
                continue
            difference = _checked(exporter, session, module, inputs[: interface.count])
            exported[network.role][name] = Exported(files, difference)
    return exported


def _written(
    exporter: Exporter, module: nn.Module, inputs: Tensor, about: dict[str, str], folder: Path
) -> dict[str, bytes]:
    """Read back from the disk, as they will be shipped."""
    exporter.export(module, inputs, folder / exporter.filename, about)
    return {name: (folder / name).read_bytes() for name in (exporter.filename, *exporter.companions)}


def _opened(exporter: Exporter, files: dict[str, bytes]) -> Session:
    """Raises Unavailable when nothing on this machine runs the format."""
    return open_runtime(exporter.target).load_exported(*files.values())


def _checked(exporter: Exporter, session: Session, module: nn.Module, inputs: Tensor) -> float:
    """Ten times too large inputs leave the range that int8 keeps, and nobody promised otherwise."""
    samples = inputs if exporter.agreement else corner_cases(inputs)
    parity = compare_session(type(exporter), session, samples, logits_of(module, samples))
    require_parity(parity, type(exporter), exporter.filename)
    return parity.difference
