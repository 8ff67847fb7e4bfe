"""The winner against its references over several seeds: paired differences with 90 % intervals.

    python benchmarks/paired.py benchmarks/configs/digits.yaml --seeds 5
    python benchmarks/paired.py benchmarks/configs/fashion.yaml --data-dir DIR --seeds 5
    python benchmarks/paired.py benchmarks/configs/cifar10.yaml --data-dir DIR --seeds 1 --strategy spos

Every seed is an ordinary run (`--out`/seed-N), so the command resumes; the figures are read from their result.json.
Accuracies are of the test split; latencies are medians measured on the target, interleaved within a run.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

import hwnas
from hwnas.core.machine import cpu_name
from hwnas.run.result import NetworkResult, Result

RIVALS = ("reference", "reference_scaled", "random")


def run_seed(options: argparse.Namespace, seed: int) -> Result:
    flags: dict[str, Any] = {"seed": seed}
    if options.strategy:
        flags["strategy"] = {"name": options.strategy}
    if options.data_dir:
        flags["data"] = {"dir": str(options.data_dir)}
    config = hwnas.resolve(flags, options.config)
    with hwnas.Run(config, options.out / f"seed-{seed}") as run:
        result = run.finish()
        hwnas.write_report(run.path)
    return result


def interval_90(values: np.ndarray) -> tuple[float, float]:
    """Of the mean, by Student's t."""
    half = t.ppf(0.95, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


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
    for rival in RIVALS:
        others: list[NetworkResult | None] = [getattr(result, rival) for result in results]
        pairs = [(r.accuracy, o.accuracy) for r, o in zip(results, others, strict=True) if o is not None]
        differences = np.array(
            [100 * (mine - theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
        )
        if len(differences) < 2:
            continue
        low, high = interval_90(differences)
        print(
            f"winner − {rival}: mean {differences.mean():+.2f} points, 90 % interval {low:+.2f} to {high:+.2f}, "
            f"{len(differences)} paired seeds"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--strategy")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.out = options.out or Path("runs") / options.config.stem
    results = [run_seed(options, seed) for seed in range(options.seeds)]
    print(f"{cpu_name()}, {options.seeds} seeds, {options.config}\n")
    print_seeds(results)
    print_differences(results)


if __name__ == "__main__":
    main()
