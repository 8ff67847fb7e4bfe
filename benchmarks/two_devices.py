"""One network for two devices, against the winner of each device alone, all measured on both.

    python benchmarks/two_devices.py benchmarks/configs/digits.yaml --targets cpu ethos-u55-128 --seeds 3
    python benchmarks/two_devices.py benchmarks/configs/fashion.yaml --data-dir DIR --targets cpu openvino-int8

Three ordinary runs a seed (`--out`/seed-N/{a,b,both}), so the command resumes. Budgets are shares of the reference's
latency on each target; what is timed here are the architectures once more, interleaved with the reference, because the
runs' own measurements lie apart in time. Accuracies are of the test split, of the file that runs on the first target.
"""

import argparse
from pathlib import Path
from typing import Any

import hwnas
from hwnas.core.arch import Arch
from hwnas.core.machine import cpu_name
from hwnas.core.seeds import derive
from hwnas.core.target import load_target
from hwnas.deploy.measure import measure
from hwnas.devices import open_runtime
from hwnas.latency.graphs import network_graph
from hwnas.run.config import RunConfig, on_several
from hwnas.run.result import Result
from hwnas.spaces import Space


def finished(config: RunConfig, out: Path) -> tuple[Space, Result]:
    with hwnas.Run(config, out) as run:
        result = run.finish()
        hwnas.write_report(run.path)
        return run.space, result


def medians_ms(space: Space, archs: dict[str, Arch], target_name: str, seed: int) -> dict[str, float]:
    target = load_target(target_name)
    runtime = open_runtime(target)
    graphs = {name: network_graph(space, arch, runtime) for name, arch in archs.items()}
    return {name: m.median for name, m in measure(graphs, target, derive(seed, "two devices")).items()}


def compare_seed(options: argparse.Namespace, seed: int) -> int:
    """Prints the seed's rows; returns how many budgets the shared winner keeps by its own run's measurements."""
    a, b = options.targets
    shared: dict[str, Any] = {"seed": seed} | ({"data": {"dir": str(options.data_dir)}} if options.data_dir else {})
    strategy = {"strategy": {"name": options.strategy}} if options.strategy else {}
    found: dict[str, Result] = {}
    space = None
    for name, targets in ((f"{a} alone", [a]), (f"{b} alone", [b]), ("both", [a, b])):
        config = hwnas.resolve(on_several(targets, options.budget) | shared | strategy, options.config)
        folder = "both" if len(targets) > 1 else targets[0]
        space, found[name] = finished(config, options.out / f"seed-{seed}" / folder)
    assert space is not None
    archs = {"reference": space.reference()} | {name: tuple(result.arch) for name, result in found.items()}
    times = {target: medians_ms(space, archs, target, seed) for target in (a, b)}
    share = float(options.budget.rstrip("%")) / 100
    for name, arch in archs.items():
        network = found["both"].reference if name == "reference" else found[name]
        assert network is not None and network.accuracy is not None
        cells = []
        for target in (a, b):
            ms, limit_ms = times[target][name], share * times[target]["reference"]
            cells.append(f"{ms:.4f} ({ms / limit_ms:.2f} of the budget)")
        print(f"| {seed} | {name} | {100 * network.accuracy:.2f} % | {' | '.join(cells)} | {space.macs(arch):,} |")
    both = found["both"]
    return int(bool(both.within_budget)) + sum(bool(there.within_budget) for there in both.also_on)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--targets", nargs=2, default=["cpu", "ethos-u55-128"])
    parser.add_argument("--budget", default="60%", help="A share of the reference, on each target.")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--strategy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    name = (options.config.stem, *options.targets, options.strategy)
    options.out = options.out or Path("runs") / "-".join(filter(None, name))
    a, b = options.targets
    print(f"{cpu_name()}, {options.seeds} seeds, {options.config}, {options.budget} on each\n")
    print(f"| seed | winner for | accuracy | ms on {a} | ms on {b} | MACs |\n|---|---|---|---|---|---|")
    kept = sum(compare_seed(options, seed) for seed in range(options.seeds))
    print(f"\nthe shared winner within its budgets, by its own run's measurements: {kept} of {2 * options.seeds}")


if __name__ == "__main__":
    main()
