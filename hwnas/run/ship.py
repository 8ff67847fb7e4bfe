"""From exported networks to a bundle: measured, tested, shipped."""

from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.core.files import write_atomic
from hwnas.core.journal import Journal
from hwnas.deploy.bundle import SAMPLES, Contents, write_bundle
from hwnas.deploy.file_network import FileNetwork
from hwnas.deploy.parity import logits_of
from hwnas.devices import open_runtime
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.model import LatencyModel
from hwnas.run.config import RunConfig
from hwnas.run.export import Formats, deployed_file
from hwnas.run.final import Final
from hwnas.run.result import Result
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.training.network import accuracy


def test_all(
    modules: dict[str, nn.Module], finals: list[Final], data: Data, device: Device, journal: Journal, folder: Path
) -> tuple[list[dict[str, float]], Tensor]:
    """The one reading of the test split: accuracy of every network as each target deploys it, and sample inputs.

    A file in fp32 has the trained network's logits (parity), and torch tests that sooner; another one runs itself.
    """
    file = folder / "checkpoints" / "test_samples.safetensors"
    record = journal.last("tested")
    if record is None:
        test = data.open_test()
        samples = next(test.plain(SAMPLES))[0]
        write_atomic(file, safetensors.torch.save({"inputs": samples.contiguous()}))
        first, *others = (
            {role: accuracy(n.to(device.torch), test.plain(), device) for role, n in _deployed(modules, final).items()}
            for final in finals
        )
        record = journal.append("tested", accuracies=first, also_on=others, images=len(test))
    try:
        samples = safetensors.torch.load_file(file)["inputs"]
    except (OSError, safetensors.SafetensorError) as error:
        raise BadInput(f"{file} is damaged", "start again with another --out") from error
    return [record["accuracies"], *record.get("also_on", [])], samples


def _deployed(modules: dict[str, nn.Module], final: Final) -> dict[str, nn.Module]:
    if final.config.target.precision == "fp32":
        return modules
    runtime = open_runtime(final.config.target)
    return {role: FileNetwork(runtime.load(model)) for role, model in final.deployed().items()}


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
    deployed = deployed_file(target)
    facts = {
        "schema_version": 1,
        "deployed": deployed,
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
        "deployed": deployed,
        "files": f"`{deployed}`, {result.verb} and tested"
        + ("; `model.onnx` is it in fp32" * (deployed != "model.onnx")),
        "threads": target.threads or "all",
        "budget": result.budget,
        "budget_ms": result.budget_ms,
        "latency": _latency(result),
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


def _latency(result: Result) -> str:
    """As the model card says it."""
    assert result.measured_ms is not None
    ms = result.measured_ms
    if result.estimated_by:
        return f"{result.known} | {ms.median:.4g} ms, with no device involved"
    return f"measured there | median {ms.median:.4g} ms, p90 {ms.p90:.4g} ms over {ms.n} runs"
