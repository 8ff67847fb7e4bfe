"""Hardware-awareness: networks searched for one target, timed on another (ProxylessNAS, Table 4, with our targets).

    python benchmarks/matrix.py --targets cpu openvino-int8 litert-int8 ethos-u55-128 --data-dir DIR --seeds 2

Every cell of the diagonal is an ordinary run (`--out`/TARGET-seed-N), so the command resumes. Then all networks of a
seed are timed on each target, interleaved. A network beats a stranger on its own target when the stranger is over the
budget there, or less accurate. Accuracies are of the test split, as each network was deployed by its own run.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from paired import finished

from hwnas.core.budget import parse_budget
from hwnas.core.machine import cpu_name
from hwnas.core.seeds import derive
from hwnas.core.target import load_target
from hwnas.deploy.measure import measure
from hwnas.devices import open_runtime
from hwnas.latency.graphs import network_graph
from hwnas.run.result import Result
from hwnas.spaces import Space

CONFIG = Path(__file__).parent / "configs" / "matrix.yaml"
REFERENCE = "reference"


class Found(NamedTuple):
    """One diagonal cell."""

    space: Space
    result: Result


def search(target: str, seed: int, options: argparse.Namespace) -> Found:
    out = options.out / f"{target}-seed-{seed}"
    return Found(*finished({"seed": seed, "target": target}, options.config, options.data_dir, out))


def times_ms(target_name: str, found: dict[str, Found], seed: int) -> dict[str, float]:
    """Searched for → median there; and the reference's. Weights do not matter to latency."""
    target = load_target(target_name)
    runtime = open_runtime(target)
    graphs = {name: network_graph(f.space, tuple(f.result.arch), runtime) for name, f in found.items()}
    space = found[target_name].space
    graphs[REFERENCE] = network_graph(space, space.reference(), runtime)
    return {name: m.median for name, m in measure(graphs, target, derive(seed, "matrix", target_name)).items()}


def verdict(native: Result, stranger: Result, stranger_ms: float, budget_ms: float) -> str:
    """Why `native` beats it on its own target; or that it does not."""
    assert native.accuracy is not None and stranger.accuracy is not None
    points = 100 * (native.accuracy - stranger.accuracy)
    if stranger_ms > budget_ms:
        return f"over the budget ({stranger_ms / budget_ms - 1:+.0%})"
    return f"{'less' if points > 0 else 'NOT less'} accurate ({-points:+.2f})"


def print_seed(seed: int, targets: list[str], options: argparse.Namespace) -> list[bool]:
    found = {target: search(target, seed, options) for target in targets}
    columns = {target: times_ms(target, found, seed) for target in targets}
    budgets = {
        target: parse_budget(found[target].result.budget).resolve_ms(column[REFERENCE])
        for target, column in columns.items()
    }
    print(f"\nSeed {seed}: median ms on each target (its share of that target's budget)\n")
    print(f"| searched for | accuracy | {' | '.join(f'on {target}' for target in targets)} |")
    print("|---" * (len(targets) + 2) + "|")
    rows = {target: found[target].result.accuracy for target in targets}
    first = found[targets[0]].result.reference
    for name, accuracy in (rows | {REFERENCE: first.accuracy if first else None}).items():
        cells = [f"{columns[t][name]:.4g} ({columns[t][name] / budgets[t]:.2f})" for t in targets]
        told = "" if accuracy is None else f"{100 * accuracy:.2f} %"
        print(f"| {name} | {told} | {' | '.join(cells)} |")
    print(f"| *budget* | | {' | '.join(f'{budgets[t]:.4g}' for t in targets)} |\n")
    won = []
    for own in targets:
        for other in targets:
            if other != own:
                told = verdict(found[own].result, found[other].result, columns[own][other], budgets[own])
                won.append(not told.startswith("NOT"))
                print(f"- on {own}, the network searched for {other}: {told}")
    return won


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=["cpu", "openvino-int8", "litert-int8", "ethos-u55-128"])
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/matrix"))
    options = parser.parse_args()
    print(f"{cpu_name()}, {options.seeds} seed(s), {options.config.name}")
    won = [w for seed in range(options.seeds) for w in print_seed(seed, options.targets, options)]
    print(f"\n{sum(won)} of {len(won)} comparisons won on the network's own target")


if __name__ == "__main__":
    main()
