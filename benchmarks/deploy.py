"""The winner and its references in every format that can be written here: size, parity, accuracy, latency.

    python benchmarks/deploy.py benchmarks/configs/deploy-fashion.yaml --data-dir DIR
    python benchmarks/deploy.py benchmarks/configs/deploy-cifar10.yaml --data-dir DIR --more 8

The networks come from an ordinary run (`--out`), so the command resumes. `--more` random ones are trained by the same
recipe. Each format answers on its own runtime: the test split's accuracy, and the share of images on which it answers
as the trained network does. Latencies are taken interleaved, all formats of all networks in turns, one thread, batch 1.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from paired import finished

import hwnas
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cpu_name
from hwnas.core.plugins import catalogue, load
from hwnas.core.seeds import stream
from hwnas.deploy.answers import in_batches
from hwnas.deploy.measure import PROTOCOL
from hwnas.deploy.parity import compare_session
from hwnas.deploy.samples import SAMPLES, logits_of
from hwnas.devices import open_runtime
from hwnas.exporters import Exporter
from hwnas.latency.timing import Measuring
from hwnas.run.export import CALIBRATION
from hwnas.run.networks import Network
from hwnas.run.problem import data_of
from hwnas.run.training import Trainer
from hwnas.runtimes import Session
from hwnas.training.data import Data

ALIKE = 0.98
"""Of the answers that int8 must keep."""
MOST_LOSS = 0.01


class Row(NamedTuple):
    """One network in one format. `session` is None where nothing here runs it: `why`."""

    role: str
    form: str
    exporter: type[Exporter]
    bytes_: int
    session: Session | None
    estimate: bool
    why: str = ""


def trained(options: argparse.Namespace) -> tuple[dict[str, torch.nn.Module], Data]:
    """Role → network; and the data, its test split unread by this process."""
    finished({}, options.config, options.data_dir, options.out)
    flags = {"data": {"dir": str(options.data_dir)}} if options.data_dir else {}
    config = hwnas.resolve(flags, options.config)
    with hwnas.Run(config, options.out) as run:
        networks = run.train()
        rng = stream(config.seed, "deploy", "more")
        networks += [Network(f"random {i}", run.space, run.space.random(rng)) for i in range(options.more)]
        trainer = Trainer(run.directory, run.space, run.data, run.device)
        modules = {network.role: trainer.trained(network) for network in networks}
    return {role: module.cpu().eval() for role, module in modules.items()}, data_of(config)


def rows(role: str, module: torch.nn.Module, names: list[str], images: torch.Tensor) -> list[Row]:
    found = []
    module = module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for name in names:
        exporter = load("exporters", name)
        target = exporter.judge
        try:
            with tempfile.TemporaryDirectory() as folder:
                exporter(target=target).export(module, images, Path(folder) / exporter.filename, {})
                files = [(Path(folder) / file).read_bytes() for file in (exporter.filename, *exporter.companions)]
        except (BadInput, Unavailable) as error:
            found.append(Row(role, name, exporter, 0, None, False, f"not written: {error.what}"))
            continue
        shipped = sum(map(len, files[:1] if exporter.filename.endswith(("engine", "vela.tflite")) else files))
        try:
            runtime = open_runtime(target)
            found.append(Row(role, name, exporter, shipped, runtime.load_exported(*files), runtime.estimate))
        except Unavailable as error:
            found.append(Row(role, name, exporter, shipped, None, False, f"built, not run: {error.what}"))
    return found


def latencies(table: list[Row]) -> dict[tuple[str, str], Any]:
    """(role, format) → milliseconds: median, p10, p90; measured, interleaved."""
    sessions = {f"{r.role}/{r.form}": r.session for r in table if r.session is not None and not r.estimate}
    timings = Measuring(sessions, PROTOCOL, stream(0, "deploy")).run("time every format")
    return {(r.role, r.form): timings[f"{r.role}/{r.form}"] for r in table if f"{r.role}/{r.form}" in timings}


def print_table(table: list[Row], modules: dict[str, torch.nn.Module], data: Data) -> list[str]:
    """What does not hold."""
    calibration, test = data.train.spread(CALIBRATION).contiguous(), list(data.open_test().plain())
    inputs = np.concatenate([x.contiguous().numpy() for x, _ in test])
    labels = np.concatenate([y.numpy() for _, y in test])
    exact = {role: answers_of(module, inputs) for role, module in modules.items()}
    timings, faults = latencies(table), []
    print("| network | format | size | logits off by | accuracy | answers kept | latency: median (p10–p90) |")
    print("|---" * 7 + "|")
    for row in table:
        if row.session is None:
            print(f"| {row.role} | {row.form} | {row.bytes_:,} | {row.why} | | | |")
            continue
        answers = in_batches(row.session, inputs).argmax(1)
        accuracy, kept = (float((answers == other).mean()) for other in (labels, exact[row.role]))
        samples = calibration[:SAMPLES]
        ms = timings.get((row.role, row.form))
        time = f"{ms.median_ms:.4f} ({ms.p10_ms:.4f}–{ms.p90_ms:.4f}) ms" if ms else ""
        if row.estimate:
            time = f"{row.session.time_ns() / 1e6:.4f} ms, estimated by the compiler"
        parity = compare_session(row.exporter, row.session, samples, logits_of(modules[row.role], samples))
        print(
            f"| {row.role} | {row.form} | {row.bytes_:,} | {parity.difference:.1e} | {100 * accuracy:.2f} % | "
            f"{100 * kept:.2f} % | {time} |"
        )
        loss = float((exact[row.role] == labels).mean()) - accuracy
        if loss > MOST_LOSS or (row.exporter.agreement and kept < ALIKE):
            faults.append(f"{row.role} as {row.form}: {100 * loss:.2f} points lost, {100 * kept:.2f} % of answers kept")
    return faults


def answers_of(module: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """The trained network's own, [n]."""
    parts = [torch.from_numpy(inputs[i : i + 256]) for i in range(0, len(inputs), 256)]
    return np.concatenate([logits_of(module, part).argmax(1).numpy() for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--more", type=int, default=0, help="random networks trained as well")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.out = options.out or Path("runs") / options.config.stem
    torch.set_num_threads(1)
    names = [plugin.name for plugin in catalogue("exporters") if plugin.available]
    modules, data = trained(options)
    images = data.train.spread(CALIBRATION).contiguous()
    table = [row for role, module in modules.items() for row in rows(role, module, names, images)]
    print(f"{cpu_name()}, {options.config.stem}, one seed, {len(data.train):,} training images\n")
    faults = print_table(table, modules, data)
    print("\n" + ("\n".join(f"- FAILED: {fault}" for fault in faults) or "every format is within a point of fp32"))


if __name__ == "__main__":
    main()
