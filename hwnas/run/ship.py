"""From exported networks to a bundle: measured, tested, shipped."""

from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.core.files import write_atomic
from hwnas.core.journal import Journal
from hwnas.core.target import Target
from hwnas.deploy.bundle import Contents, write_bundle
from hwnas.deploy.card import Card
from hwnas.deploy.file_network import FileNetwork
from hwnas.deploy.interface import interface_of
from hwnas.deploy.samples import Samples
from hwnas.deploy.structure import metadata
from hwnas.devices import open_runtime
from hwnas.exporters import DEPLOYED
from hwnas.formats.sensitivity import FLOATS
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.model import LatencyModel
from hwnas.run.config import RunConfig
from hwnas.run.export import Exported, Formats, deployed_file
from hwnas.run.final import Final
from hwnas.run.networks import Network
from hwnas.run.result import Result
from hwnas.training.compute import Device
from hwnas.training.data import Data, Split
from hwnas.training.network import accuracy, perplexity


class Tested(NamedTuple):
    """The networks as one target deploys them, by role. `perplexities`: of text, else empty."""

    accuracies: dict[str, float]
    perplexities: dict[str, float]


def test_all(
    winner: Network,
    modules: dict[str, nn.Module],
    finals: list[Final],
    data: Data,
    device: Device,
    journal: Journal,
    folder: Path,
) -> tuple[list[Tested], dict[str, Tensor]]:
    """The one reading of the test split: every network as each target deploys it, and the `inputs` of the bundle's
    samples, with what they were made of.

    A file in fp32 has the trained network's logits (parity), and torch tests that sooner; another one runs itself.
    """
    file = folder / "checkpoints" / "test_samples.safetensors"
    interface = interface_of(data, winner.space.shape_of(winner.arch))
    record = journal.last("tested")
    if record is None:
        test = data.open_test()
        inputs = winner.space.seen(modules["winner"].cpu(), test.first(interface.count))
        made = {"inputs": inputs, **test.origins(interface.count)}
        write_atomic(file, safetensors.torch.save({name: tensor.contiguous() for name, tensor in made.items()}))
        tested = [_tested(_deployed(modules, final), test, device) for final in finals]
        (first, *others), perplexities = zip(*tested, strict=True)
        facts = {"accuracies": first, "also_on": others, "perplexities": perplexities}
        record = journal.append("tested", **facts, images=test.samples)
    try:
        stored = safetensors.torch.load_file(file)
        samples = {name: stored[name] for name in interface.parts}
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise BadInput(f"{file} is damaged", "start again with another --out") from error
    accuracies = [record["accuracies"], *record.get("also_on", [])]
    return list(map(Tested, accuracies, record.get("perplexities", [{} for _ in accuracies]))), samples


def _tested(networks: dict[str, nn.Module], test: Split, device: Device) -> Tested:
    accuracies = {role: accuracy(n.to(device.torch), test.plain(), device) for role, n in networks.items()}
    read = networks if test.is_text else {}
    return Tested(accuracies, {role: perplexity(n, test.plain(), device) for role, n in read.items()})


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
    samples: dict[str, Tensor],
    latency: LatencyModel,
) -> None:
    """Write the bundle."""
    assert result.measured_ms is not None and result.accuracy is not None
    target = config.target
    here = fingerprint(open_runtime(target))  # it was measured here, wherever the table comes from
    preprocessing = interface_of(data, tuple(samples["inputs"].shape[1:]))
    facts = {
        "schema_version": 1,
        "deployed": deployed_file(target),
        "target": target.model_dump(mode="json"),
        "fingerprint": dict(here.identity),
        "table_protocol_sha256": latency.table.protocol_sha256,
        "table_sha256": latency.table.content_sha256(),
        "table_mismatch": here.differences(latency.table.fingerprint),
        "predicted_ms": result.predicted_ms,
        "predicted_ms_p95": result.predicted_ms_p95,
        "measured_ms": result.measured_ms.model_dump(),
        "budget": result.budget,
        "budget_ms": result.budget_ms,
        "within_budget": result.within_budget,
        "accuracy": result.accuracy,
        "parity_max_abs": {next(iter(e.files)): e.difference for e in formats.values()},
        "unverified": {next(iter(e.files)): e.unverified for e in formats.values() if e.unverified},
        "data": config.data.name,
        "preprocessing": preprocessing.model_dump(mode="json"),
        "class_names": list(data.class_names),
        "versions": result.versions,
    }
    card = Card(
        title=f"{config.space.name} network for {target.name}",
        rows=_rows(result, config, dict(here.identity)),
        preprocessing=preprocessing,
        class_names=tuple(data.class_names),
        sample_count=len(samples["inputs"]),
        notes={name: _note(name, exported, result, target) for name, exported in formats.items()},
    )
    arch = {"space": config.space.model_dump(mode="json"), "arch": result.arch, "choices": result.choices}
    files = {name: exported.files for name, exported in formats.items()}
    checked = Samples.of(winner, samples.get("pixels"), samples["inputs"])
    write_bundle(folder, Contents(files, winner.state_dict(), arch, checked, facts, card))


def _rows(result: Result, config: RunConfig, identity: dict[str, Any]) -> dict[str, str]:
    """What the model card says of the network."""
    target = config.target
    there = f"{identity['device']}, {identity['runtime']} {identity['runtime_version']}"
    return {
        "found by": f"hwnas {result.versions['hwnas']}: space {config.space.name}, strategy {config.strategy.name}, "
        f"seed {config.seed}",
        "searched for": f"target {target.name} ({there}, {target.precision}, batch {target.batch}, "
        f"{target.threads or 'all'} threads), budget {result.budget}",
        "latency": _latency(result, there),
        "predicted": f"{result.predicted_ms:.4g} ms; the budget was {result.budget_ms:.4g} ms",
        "accuracy": f"{_right(result)} on the test split of {config.data.name}, read once, after everything was chosen",
        "size": f"{result.params:,} parameters, {result.macs:,} multiply-accumulates",
        "limits": "trained on that data alone, and for its classes alone: anything else gets one of them all the same; "
        "the latency holds on the device above and nowhere else: measure again on yours",
    }


def _right(result: Result) -> str:
    of_words = "" if result.perplexity is None else f" of the next words, perplexity {result.perplexity:.2f},"
    return f"{result.accuracy:.4f}{of_words}"


def _latency(result: Result, there: str) -> str:
    """And how it is known."""
    assert result.measured_ms is not None
    ms = result.measured_ms
    if result.estimated_by:
        return f"{ms.median:.4g} ms, {result.known}: no device was involved"
    return f"median {ms.median:.4g} ms, p90 {ms.p90:.4g} ms over {ms.n} runs, measured by hwnas on {there}"


def _note(name: str, exported: Exported, result: Result, target: Target) -> str:
    """What is known of a format's file."""
    known = [f"{result.verb} and tested"] if name == DEPLOYED[target.precision] else []
    if exported.unverified:
        known.append("NOT VERIFIED where it was written; where it runs: hwnas verify BUNDLE")
    else:
        known.append(f"logits within {exported.difference:.1g} of the trained network's")
    if name == "onnx-int8" and open_runtime(target).int8_form == "u8s8":
        known.append("8-bit weights (onnxruntime on an x86 CPU without VNNI: session.x64quantprecision = 1)")
    if floats := metadata(exported.content).get(FLOATS) if next(iter(exported.files)).endswith(".onnx") else None:
        known.append(f"layers in float: {', '.join(floats.splitlines())}")
    return ", ".join(known)
