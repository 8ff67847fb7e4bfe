"""Random networks of every convolutional space through every format: how many are built, and compute the same.

    python benchmarks/export_many.py --networks 20                   every space
    python benchmarks/export_many.py --spaces mobile --networks 200

Networks have random weights with trained-looking statistics. fp32 must be within 1e-4 of the network's own logits and
fp16 within 1e-2, relative to the largest logit where that is above 1; of int8 the share of kept answers is told, which
for untrained networks means little. What nothing here runs is built alone. Each network is a line of `--out`, so the
command resumes.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cpu_name
from hwnas.core.plugins import catalogue, load
from hwnas.core.progress import Progress
from hwnas.core.seeds import derive, stream
from hwnas.deploy.parity import compare_session
from hwnas.deploy.samples import logits_of
from hwnas.devices import open_runtime
from hwnas.exporters.onnx import to_onnx
from hwnas.spaces import Space
from hwnas.testing.space import perturbed

FORMATS = ("onnx", "onnx-fp16", "onnx-int8", "openvino", "openvino-fp16", "openvino-int8")
BUILT = ("tensorrt", "tensorrt-fp16", "tensorrt-int8")
SPACES = ("mobile", "mobilenet-v2", "fbnet", "tfnas", "shuffle", "ofa", "nasbench201", "darts", "chain", "mobile-224")
SAMPLES = 16
LARGEST_LOGIT = 10.0


def space_of(name: str) -> Space:
    """With its own settings, colour images and ten classes."""
    plugin = load("spaces", name)
    return plugin(plugin.Settings(), channels=3, classes=10)


def network(space: Space, name: str, number: int) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(derive(0, "export many", name, number) % 2**63)
    arch = space.random(stream(0, "export many", name, number))
    module, samples = perturbed(space.build(arch)).eval(), torch.randn(SAMPLES, *space.input_shape)
    *_, classifier = (layer for layer in module.modules() if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():  # logits as large as a trained network's, or every difference would be small
        factor = LARGEST_LOGIT / module(samples).abs().max()
        for parameter in classifier.parameters():
            parameter *= factor
    return module, samples


def outcome(name: str, exact: bytes, module: torch.nn.Module, samples: torch.Tensor) -> dict[str, Any]:
    """Of one format: `refused` and why, or `built`, with the difference and the share of kept answers where it runs."""
    exporter = load("exporters", name)
    try:
        files = exporter().convert(exact, samples.numpy())
    except BadInput as error:
        return {"refused": error.what}
    try:
        session = open_runtime(exporter.judge).load_exported(*files)
    except Unavailable:
        return {"built": True}
    except BadInput as error:
        return {"refused": error.what}
    parity = compare_session(exporter, session, samples, logits_of(module, samples))
    sound = exporter.agreement is not None or parity.difference <= exporter.tolerance * parity.scale
    return {"built": True, "off": parity.difference / parity.scale, "kept": parity.kept, "sound": sound}


def fill(options: argparse.Namespace, formats: list[str]) -> list[dict[str, Any]]:
    """A record a network; those of earlier runs are taken from the file."""
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    records = {(r["space"], r["number"]): r for r in map(json.loads, lines)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    wanted = [(name, number) for name in options.spaces for number in range(options.first, options.networks)]
    with Progress("export", len(wanted), done=len(records.keys() & set(wanted))) as progress:
        for name, number in wanted:
            if (name, number) in records:
                continue
            start, (module, samples) = monotonic(), network(space_of(name), name, number)
            exact = to_onnx(module, samples)
            found = {form: outcome(form, exact, module, samples) for form in formats}
            record = {"space": name, "number": number, "formats": found, "seconds": monotonic() - start}
            with options.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            records[name, number] = record
            progress.advance()
    return [records[key] for key in wanted]


def print_table(records: list[dict[str, Any]], formats: list[str]) -> None:
    print("| space | networks | format | built | within tolerance | largest difference | answers kept |")
    print("|---" * 7 + "|")
    by_space: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        by_space[record["space"]].append(record)
    for space, found in by_space.items():
        for form in formats:
            outcomes = [record["formats"][form] for record in found]
            ran = [o for o in outcomes if "off" in o]
            cells = [f"{sum('built' in o for o in outcomes)} of {len(outcomes)}", "built alone", "", ""]
            if ran:
                cells[1] = f"{sum(o['sound'] for o in ran)} of {len(ran)}"
                cells[2:] = [f"{max(o['off'] for o in ran):.1e}", f"{100 * min(o['kept'] for o in ran):.0f} % at least"]
            print(f"| {space} | {len(found)} | {form} | {' | '.join(cells)} |")
    refused = {(r["space"], form, o["refused"]) for r in records for form, o in r["formats"].items() if "refused" in o}
    for space, form, why in sorted(refused):
        print(f"- {space} as {form}: {why}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=list(SPACES))
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="leave out those before this number")
    parser.add_argument("--out", type=Path, default=Path("runs/export_many.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    available = {plugin.name for plugin in catalogue("exporters") if plugin.available}
    formats = [name for name in FORMATS + BUILT if name in available]
    records = fill(options, formats)
    seconds = sum(record["seconds"] for record in records)
    print(f"{cpu_name()}, {len(records)} networks, {seconds:.0f} s\n")
    print_table(records, formats)


if __name__ == "__main__":
    main()
