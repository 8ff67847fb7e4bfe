"""Stopping hopeless trainings in regularized evolution on NAS-Bench-201: what it saves, and what it costs.

    HWNAS_DATA=DIR python benchmarks/early_stopping.py choose
    HWNAS_DATA=DIR python benchmarks/early_stopping.py judge --seeds 200 --quantile 0.8

A child is first trained for 12 epochs (the published column: a schedule of its own, so going on costs 200 epochs
more). It goes on to 200 epochs where its 12-epoch accuracy is at least the `--quantile` of those of all children before
it (the median stopping rule, with another quantile); the first always do. A stopped child's fitness is what a line
through the finished ones makes of its 12 epochs, both as −log(1 − accuracy + 0.005). Beside it, by seed, the same
search that trains every child for 200 epochs and none for 12. `QUERIES` children each; the result is the test accuracy
of the best fully trained network by validation accuracy.
choose: quantiles on CIFAR-100, seeds 1000 and up. judge: CIFAR-10 and ImageNet16-120, seeds 0 to n − 1: they chose
nothing.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from nasbench201 import TESTS, print_header, table, unconstrained

from hwnas.compare.paired import mean_of
from hwnas.core.arch import Arch
from hwnas.core.journal import Journal, Record
from hwnas.core.plugins import load
from hwnas.core.progress import Progress
from hwnas.search.lookup import look_up

QUERIES, FIRST, SHORT, FULL = 200, 10, 12, 200
QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.9)
CHOICE_SEEDS, CHOICE_COUNT = 1000, 50
COLUMNS = {
    "c10": ("c10_valid_acc_12ep", "c10_valid_acc_200ep_seeds"),
    "c100": ("c100_valid_acc_12ep", "c100_valtest_acc_200ep_seeds"),
    "in16": ("in16_valid_acc_12ep", "in16_valtest_acc_200ep_seeds"),
}
"""What stops, and what a full training shows."""


class Judge:
    """A child's fitness. `quantile` None: every child is trained fully, and for no 12 epochs before."""

    def __init__(self, data: str, quantile: float | None) -> None:
        self.short, self.full = (table(column).accuracy for column in COLUMNS[data])
        self.quantile, self.begun, self.finished = quantile, list[float](), dict[Arch, float]()
        self.pairs, self.epochs = list[tuple[float, float]](), 0

    def __call__(self, arch: Arch) -> float:
        early = self.short(arch)
        if self.quantile is not None:
            self.epochs += SHORT
            before = list(self.begun)
            self.begun.append(early)
            if len(before) >= FIRST and early < np.quantile(before, self.quantile):
                return self._continued(early)
        self.epochs += FULL
        self.finished[arch] = self.full(arch)
        self.pairs.append((early, self.finished[arch]))
        return self.finished[arch]

    def _continued(self, early: float) -> float:
        x, y = -np.log(1 - np.array(self.pairs).T + 0.005)
        line = np.polyfit(x, y, 1)
        return float(np.clip(1.005 - np.exp(-np.polyval(line, -np.log(1 - early + 0.005))), 0, 1))


def search(data: str, quantile: float | None, seed: int) -> dict[str, object]:
    plugin = load("strategies", "regularized-evolution")
    judge: Callable[[Arch], float] = Judge(data, quantile)
    look_up(plugin(unconstrained(seed), plugin.Settings(trials=QUERIES)), unconstrained(seed), judge, _goes_on)
    return {"chosen": list(max(judge.finished, key=judge.finished.__getitem__)), "epochs": judge.epochs}


def _goes_on(trials: list[object]) -> bool:
    return len(trials) < QUERIES


def searches(data: str, quantiles: tuple[float | None, ...], seeds: range, journal: Journal) -> list[Record]:
    """Those that the journal has are taken from there."""
    cases = [{"data": data, "quantile": q, "seed": seed} for seed in seeds for q in quantiles]
    key = ("data", "quantile", "seed")
    done = {tuple(record[name] for name in key): record for record in journal.of("search")}
    found = []
    with Progress(f"searches on {data}", len(cases)) as progress:
        for case in cases:
            record = done.get(tuple(case.values()))
            found.append(record or journal.append("search", **case, **search(**case)))
            progress.advance()
    return found


def show(records: list[Record]) -> None:
    """Test accuracies are opened here, when all searches are over."""
    test = table(TESTS[records[0]["data"]])

    def by_seed(quantile: float | None) -> dict[int, tuple[float, int]]:
        mine = [r for r in records if r["quantile"] == quantile]
        return {r["seed"]: (100 * test.accuracy(tuple(r["chosen"])), r["epochs"]) for r in mine}

    full = by_seed(None)
    for quantile in dict.fromkeys(r["quantile"] for r in records):
        mine = by_seed(quantile)
        accuracy = np.mean([a for a, _ in mine.values()])
        saved = mean_of([100 * (1 - epochs / full[seed][1]) for seed, (_, epochs) in mine.items()])
        loss = mean_of([a - full[seed][0] for seed, (a, _) in mine.items()])
        name = "every child fully" if quantile is None else f"quantile {quantile:g}"
        apart = "" if quantile is None or loss is None else loss.text(3, "+")
        assert saved is not None
        print(f"| {records[0]['data']} | {name} | {len(mine)} | {accuracy:.2f} | {apart} | {saved.mean:.1f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("choose", "judge"))
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--quantile", type=float, default=0.8)
    parser.add_argument("--out", type=Path, default=Path("runs/early-stopping"))
    o = parser.parse_args()
    journal = Journal(o.out / "searches.jsonl")
    if o.experiment == "choose":
        found = [searches("c100", (None, *QUANTILES), range(CHOICE_SEEDS, CHOICE_SEEDS + CHOICE_COUNT), journal)]
    else:
        found = [searches(data, (None, o.quantile), range(o.seeds), journal) for data in ("c10", "in16")]
    print_header("data", "children", "seeds", "test accuracy %", "− every child fully, paired (90 %)", "epochs saved")
    for records in found:
        show(records)


if __name__ == "__main__":
    main()
