"""From exported networks to a bundle: measured, tested, shipped."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from torch import Tensor, nn

from hwnas.core.budget import Budget
from hwnas.core.errors import BadInput
from hwnas.core.files import write_atomic
from hwnas.core.journal import Journal
from hwnas.core.seeds import derive
from hwnas.deploy.bundle import Contents, write_bundle
from hwnas.deploy.energy import energies_mj
from hwnas.deploy.file_network import FileNetwork
from hwnas.deploy.measure import Measured, measure
from hwnas.deploy.parity import logits_of
from hwnas.devices import open_runtime
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.model import LatencyModel
from hwnas.run.config import RunConfig
from hwnas.run.export import Formats, deployed_file, samples_of
from hwnas.run.networks import Network
from hwnas.run.result import Result
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.training.network import accuracy, perplexity


def final_measurement(
    exported: dict[str, Formats], config: RunConfig, budget: Budget
) -> tuple[dict[str, Measured], float]:
    """The shipped files themselves, interleaved; and the budget in ms that follows from the reference's time."""
    models = _deployed(exported, config)
    measured = measure(models, config.target, derive(config.seed, "final"))
    energy_mj, meter = energies_mj(models, config.target)
    measured = {role: replace(m, energy_mj=energy_mj.get(role), energy_meter=meter) for role, m in measured.items()}
    return measured, budget.resolve_ms(measured["reference"].by(budget.statistic))


class Tested(NamedTuple):
    """By role, on the test split. `perplexities`: of text, else empty. `samples`: the winner's inputs."""

    accuracies: dict[str, float]
    perplexities: dict[str, float]
    samples: Tensor


def test_all(
    networks: list[Network],
    modules: dict[str, nn.Module],
    exported: dict[str, Formats],
    config: RunConfig,
    data: Data,
    device: Device,
    journal: Journal,
    folder: Path,
) -> Tested:
    """The one reading of the test split: every network as it is deployed, and the winner's sample inputs.

    A file in fp32 has the trained network's logits (parity), and torch tests that sooner; another one runs itself.
    """
    file = folder / "checkpoints" / "test_samples.safetensors"
    record = journal.last("tested")
    if record is None:
        test = data.open_test()
        samples = networks[0].space.seen(modules["winner"].cpu(), test.first(samples_of(data)))
        write_atomic(file, safetensors.torch.save({"inputs": samples.contiguous()}))
        tested = modules if config.target.precision == "fp32" else _file_networks(exported, config)
        accuracies = {role: accuracy(n.to(device.torch), test.plain(), device) for role, n in tested.items()}
        facts = {"accuracies": accuracies, "images": test.samples}
        if data.is_text:
            facts["perplexities"] = {role: perplexity(n, test.plain(), device) for role, n in tested.items()}
        record = journal.append("tested", **facts)
    try:
        inputs = safetensors.torch.load_file(file)["inputs"]
        return Tested(record["accuracies"], record.get("perplexities", {}), inputs)
    except (OSError, safetensors.SafetensorError) as error:
        raise BadInput(f"{file} is damaged", "start again with another --out") from error


def _deployed(exported: dict[str, Formats], config: RunConfig) -> dict[str, bytes]:
    name = deployed_file(config.target)
    return {role: formats[name][0] for role, formats in exported.items()}


def _file_networks(exported: dict[str, Formats], config: RunConfig) -> dict[str, nn.Module]:
    runtime = open_runtime(config.target)
    return {role: FileNetwork(runtime.load(model)) for role, model in _deployed(exported, config).items()}


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
    preprocessing = data.preprocessing()
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
        "accuracy": _accuracy(result),
        "data": config.data.name,
        "params": result.params,
        "macs": result.macs,
        "classes": data.classes,
        "class_names": ", ".join(data.class_names[:20]),
        "sample_count": len(samples),
        "size": samples.shape[1] - 1 if data.is_text else samples.shape[-1],
        "channels": data.channels,
        "preprocessing": preprocessing,
    }
    files = {name: content for name, (content, _) in formats.items()}
    write_bundle(folder, Contents(files, winner.state_dict(), arch | preprocessing, samples, logits, facts, card))


def _accuracy(result: Result) -> str:
    """As the model card says it."""
    words = "" if result.perplexity is None else f" of next words, perplexity {result.perplexity:.2f},"
    return f"{result.accuracy:.4f}{words}"


def _latency(result: Result) -> str:
    """As the model card says it."""
    assert result.measured_ms is not None
    ms = result.measured_ms
    if result.estimated_by:
        return f"{result.known} | {ms.median:.4g} ms, with no device involved"
    return f"measured there | median {ms.median:.4g} ms, p90 {ms.p90:.4g} ms over {ms.n} runs"
