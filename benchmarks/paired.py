"""The winner against its references over several seeds: paired differences with 90 % intervals.

    python benchmarks/paired.py benchmarks/configs/digits.yaml --seeds 5
    python benchmarks/paired.py benchmarks/configs/fashion.yaml --data-dir DIR --seeds 5
    python benchmarks/paired.py benchmarks/configs/cifar10.yaml --data-dir DIR --seeds 1 --strategy spos

Every seed is an ordinary run (`--out`/seed-N), so the command resumes; the figures are read from their result.json.
`hwnas compare` does the same for several strategies and budgets, and writes a page.
Accuracies are of the test split; latencies are medians measured on the target, interleaved within a run.
"""

import argparse
from pathlib import Path
from typing import Any

import hwnas
from hwnas.compare.paired import paired
from hwnas.core.machine import cpu_name
from hwnas.run.result import NetworkResult, Result
from hwnas.spaces import Space

RIVALS = ("reference", "reference_scaled", "random")


def finished(flags: dict[str, Any], file: Path | None, data_dir: Path | None, out: Path) -> tuple[Space, Result]:
    """An ordinary run, with its page. `file`: its configuration, which `flags` override."""
    data = {"data": {"dir": str(data_dir)}} if data_dir else {}
    with hwnas.Run(hwnas.resolve(flags | data, file), out) as run:
        result = run.finish()
        hwnas.write_report(run.path)
        return run.space, result


def run_seed(options: argparse.Namespace, seed: int) -> Result:
    strategy = {"strategy": {"name": options.strategy}} if options.strategy else {}
    return finished({"seed": seed} | strategy, options.config, options.data_dir, options.out / f"seed-{seed}")[1]


def print_seeds(results: list[Result]) -> None:
    print("| seed | network | accuracy | measured ms | ratio to reference | within budget | params | MACs |")
    print("|---|---|---|---|---|---|---|---|")
    for result in results:
        assert result.reference is not None and result.reference.measured_ms is not None
        base = result.reference.measured_ms.median
        networks: dict[str, Any] = {"winner": result} | {r: getattr(result, r) for r in RIVALS}
        for role, network in networks.items():
            if network is None or network.measured_ms is None:
                continue
            print(
                f"| {result.seed} | {role} | {100 * network.accuracy:.2f} % | {network.measured_ms.median:.4f} | "
                f"{network.measured_ms.median / base:.3f} | {network.within_budget} | {network.params:,} | "
                f"{network.macs:,} |"
            )


def print_differences(results: list[Result]) -> None:
    kept = sum(bool(result.within_budget) for result in results)
    print(f"\nwinner within budget by measurement: {kept} of {len(results)}")
    winners = {result.seed: points(result) for result in results}
    for rival in RIVALS:
        found = paired(winners, {result.seed: points(getattr(result, rival)) for result in results})
        if found is not None and found.n > 1:
            between = f"{found.low:+.2f} to {found.high:+.2f}"
            print(f"winner − {rival}: mean {found.mean:+.2f} points, 90 % interval {between}, {found.n} paired seeds")


def points(network: Result | NetworkResult | None) -> float | None:
    return None if network is None or network.accuracy is None else 100 * network.accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--strategy")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.out = options.out or Path("runs") / "-".join(filter(None, (options.config.stem, options.strategy)))
    results = [run_seed(options, seed) for seed in range(options.seeds)]
    print(f"{cpu_name()}, {options.seeds} seeds, {options.config}\n")
    print_seeds(results)
    print_differences(results)


if __name__ == "__main__":
    main()
