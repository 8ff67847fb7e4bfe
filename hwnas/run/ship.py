"""From trained networks to a verified bundle."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from hwnas.core.budget import Budget
from hwnas.core.errors import BadInput
from hwnas.core.files import write_atomic
from hwnas.core.journal import Journal
from hwnas.core.plugins import load
from hwnas.core.seeds import derive
from hwnas.deploy.bundle import SAMPLES, Contents, write_bundle
from hwnas.deploy.measure import Measured, measure
from hwnas.deploy.parity import corner_cases, logits_of, require_parity, worst_difference
from hwnas.devices import open_runtime
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.model import LatencyModel
from hwnas.run.config import RunConfig
from hwnas.run.networks import Network
from hwnas.run.result import Result
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.training.network import accuracy

Formats = dict[str, tuple[bytes, float]]
"""File name → (content, largest difference from the trained network's logits)."""


def export_all(
    networks: list[Network], modules: dict[str, nn.Module], config: RunConfig, data: Data, folder: Path
) -> dict[str, Formats]:
    """Every network in ONNX, the winner in every format asked for, each checked for parity on training images.

    Raises VerificationFailed when a file computes something else.
    """
    inputs = next(data.train.plain(SAMPLES))[0]
    runtime = open_runtime(config.target)
    exported: dict[str, Formats] = {}
    for network in networks:
        names = config.exporters if network.role == "winner" else ("onnx",)
        module = modules[network.role].cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        samples = corner_cases(inputs).contiguous()
        logits = logits_of(module, samples)
        exported[network.role] = {}
        for name in names:
            exporter = load("exporters", name)()
            path = folder / network.role / exporter.filename
            exporter.export(module, samples, path, _metadata(config, data))
            content = path.read_bytes()
            difference = worst_difference(runtime, content, samples, logits)
            require_parity(difference, exporter.tolerance, float(logits.abs().max()), exporter.filename)
            exported[network.role][exporter.filename] = (content, difference)
    return exported


def final_measurement(
    exported: dict[str, Formats], config: RunConfig, budget: Budget
) -> tuple[dict[str, Measured], float]:
    """The shipped files themselves, interleaved; and the budget in ms that follows from the reference's time."""
    models = {role: formats["model.onnx"][0] for role, formats in exported.items()}
    measured = measure(models, config.target, derive(config.seed, "final"))
    return measured, budget.resolve_ms(measured["reference"].by(budget.statistic))


def test_all(
    modules: dict[str, nn.Module], data: Data, device: Device, journal: Journal, folder: Path
) -> tuple[dict[str, float], Tensor]:
    """The one reading of the test split: accuracy of every network, and the winner's sample inputs."""
    file = folder / "checkpoints" / "test_samples.safetensors"
    record = journal.last("tested")
    if record is None:
        test = data.open_test()
        samples = next(test.plain(SAMPLES))[0]
        write_atomic(file, safetensors.torch.save({"inputs": samples.contiguous()}))
        accuracies = {role: accuracy(module.to(device.torch), test.plain(), device) for role, module in modules.items()}
        record = journal.append("tested", accuracies=accuracies, images=len(test))
    try:
        return record["accuracies"], safetensors.torch.load_file(file)["inputs"]
    except (OSError, safetensors.SafetensorError) as error:
        raise BadInput(f"{file} is damaged", "start again with another --out") from error


def ship(
    folder: Path,
    result: Result,
    config: RunConfig,
    data: Data,
    winner: nn.Module,
    formats: Formats,
    samples: Tensor,
    latency: LatencyModel,
) -> None:
    """Write the bundle."""
    assert result.measured_ms is not None and result.accuracy is not None
    logits = logits_of(winner, samples)
    target = config.target
    here = fingerprint(open_runtime(target))  # it was measured here, wherever the table comes from
    identity = dict(here.identity)
    measured = result.measured_ms.model_dump()
    facts = {
        "schema_version": 1,
        "target": target.model_dump(mode="json"),
        "fingerprint": identity,
        "table_protocol_sha256": latency.table.protocol_sha256,
        "table_sha256": latency.table.content_sha256(),
        "table_mismatch": here.differences(latency.table.fingerprint),
        "predicted_ms": result.predicted_ms,
        "predicted_ms_p95": result.predicted_ms_p95,
        "measured_ms": measured,
        "budget": result.budget,
        "budget_ms": result.budget_ms,
        "within_budget": result.within_budget,
        "accuracy": result.accuracy,
        "parity_max_abs": {name: difference for name, (_, difference) in formats.items()},
        "versions": result.versions,
    }
    mean, std = ([round(v, 6) for v in t.tolist()] for t in (data.mean, data.std))
    preprocessing = {"scale": 1 / 255, "mean": mean, "std": std, "class_names": list(data.class_names)}
    arch = {"space": config.space.model_dump(mode="json"), "arch": result.arch, "choices": result.choices}
    card: dict[str, Any] = {
        "title": f"{config.space.name} network for {target.name}",
        "version": result.versions["hwnas"],
        "space": config.space.name,
        "strategy": config.strategy.name,
        "seed": config.seed,
        "target": target.name,
        "device": identity["device"],
        "runtime": f"{identity['runtime']} {identity['runtime_version']}",
        "precision": target.precision,
        "threads": target.threads or "all",
        "budget": result.budget,
        "budget_ms": result.budget_ms,
        "median_ms": measured["median"],
        "p90_ms": measured["p90"],
        "samples": measured["n"],
        "predicted_ms": result.predicted_ms,
        "accuracy": result.accuracy,
        "data": config.data.name,
        "params": result.params,
        "macs": result.macs,
        "channels": data.channels,
        "resolution": samples.shape[-1],
        "mean": mean,
        "std": std,
        "classes": data.classes,
        "class_names": ", ".join(data.class_names[:20]),
        "sample_count": len(samples),
    }
    files = {name: content for name, (content, _) in formats.items()}
    write_bundle(folder, Contents(files, winner.state_dict(), arch | preprocessing, samples, logits, facts, card))


def _metadata(config: RunConfig, data: Data) -> dict[str, str]:
    return {
        "hwnas.space": config.space.name,
        "hwnas.target": config.target.name,
        "class_names": "\n".join(data.class_names),
        "mean": ",".join(f"{v:.6f}" for v in data.mean.tolist()),
        "std": ",".join(f"{v:.6f}" for v in data.std.tolist()),
    }
