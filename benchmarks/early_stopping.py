"""Stopping hopeless trainings in regularized evolution on NAS-Bench-201: as good a network for half the epochs?

    HWNAS_DATA=DIR python benchmarks/early_stopping.py choose
    HWNAS_DATA=DIR python benchmarks/early_stopping.py judge --seeds 200 --quantile 0.95

A child is first trained for 12 epochs (the published column: a schedule of its own, so going on costs 200 epochs more).
It goes on to 200 epochs where its 12-epoch accuracy is at least the `--quantile` of those of all children before it
(the median stopping rule, with another quantile); the first always do. A stopped child's fitness is what a line through
the finished ones makes of its 12 epochs, both as −log(1 − accuracy + 0.005). Beside it, by seed, the same search whose
`CHILDREN` are all trained fully, and none for 12 epochs. The stopping search has either as many children, or as many as
`SHARE` of that search's epochs pay for. A cell proposed again is not trained again by either. The result is the test
accuracy of the best fully trained network by validation accuracy.
choose: CIFAR-10, seeds 1000 and up, several quantiles. judge: three data sets, seeds 0 to n − 1, which chose nothing.
"""

import argparse
from pathlib import Path

import numpy as np
from nasbench201 import TESTS, print_header, table, unconstrained

from hwnas.compare.paired import paired
from hwnas.core.arch import Arch
from hwnas.core.journal import Journal, Record
from hwnas.core.plugins import load
from hwnas.core.progress import Progress
from hwnas.search.lookup import look_up
from hwnas.search.trial import Trial

CHILDREN, SHARE, FIRST, SHORT, FULL = 200, 0.5, 10, 12, 200
MOST_CHILDREN = 2000
"""A search that only proposes what it knows ends here."""
KEY = ("data", "quantile", "ends", "seed")
QUANTILES = (0.7, 0.8, 0.9, 0.95)
CHOICE_SEEDS, CHOICE_COUNT = 1000, 100
COLUMNS = {
    "c10": ("c10_valid_acc_12ep", "c10_valid_acc_200ep_seeds"),
    "in16": ("in16_valid_acc_12ep", "in16_valtest_acc_200ep_seeds"),
    "c100": ("c100_valid_acc_12ep", "c100_valtest_acc_200ep_seeds"),
}
"""What stops, and what a full training shows."""


class Judge:
    """A child's fitness. `quantile` None: every child is trained fully, and for no 12 epochs before."""

    def __init__(self, data: str, quantile: float | None) -> None:
        self.short, self.full = (table(column).accuracy for column in COLUMNS[data])
        self.quantile, self.epochs = quantile, 0
        self.fitness, self.finished = dict[Arch, float](), dict[Arch, float]()
        self.begun, self.pairs = list[float](), list[tuple[float, float]]()

    def __call__(self, arch: Arch) -> float:
        if arch not in self.fitness:
            self.fitness[arch] = self._trained(arch)
        return self.fitness[arch]

    def _trained(self, arch: Arch) -> float:
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


def search(data: str, quantile: float | None, most_epochs: float | None, seed: int) -> dict[str, object]:
    """Until it has `CHILDREN`, or no epochs are left for another one."""
    plugin, judge = load("strategies", "regularized-evolution"), Judge(data, quantile)

    def goes_on(trials: list[Trial]) -> bool:
        if most_epochs is None:
            return len(trials) < CHILDREN
        return judge.epochs + SHORT + FULL <= most_epochs and len(trials) < MOST_CHILDREN

    trials = look_up(plugin(unconstrained(seed), plugin.Settings(trials=CHILDREN)), unconstrained(seed), judge, goes_on)
    best = max(judge.finished, key=judge.finished.__getitem__)
    return {"chosen": list(best), "children": len(trials), "epochs": judge.epochs}


def searches(data: str, quantiles: tuple[float, ...], seeds: range, journal: Journal) -> list[Record]:
    """Those that the journal has are taken from there."""
    done = {tuple(record[name] for name in KEY): record for record in journal.of("search")}

    def found(quantile: float | None, ends: str, seed: int, most_epochs: float | None = None) -> Record:
        case = dict(zip(KEY, (data, quantile, ends, seed), strict=True))
        return done.get((data, quantile, ends, seed)) or journal.append(
            "search", **case, **search(data, quantile, most_epochs, seed)
        )

    records = []
    with Progress(f"searches on {data}", len(seeds)) as progress:
        for seed in seeds:
            records.append(whole := found(None, "children", seed))
            for quantile in quantiles:
                records.append(found(quantile, "children", seed))
                records.append(found(quantile, "epochs", seed, SHARE * whole["epochs"]))
            progress.advance()
    return records


def show(records: list[Record]) -> None:
    """Test accuracies are opened here, when all searches are over."""
    test = table(TESTS[records[0]["data"]])
    kinds = dict.fromkeys((r["quantile"], r["ends"]) for r in records)
    found = {kind: [r for r in records if (r["quantile"], r["ends"]) == kind] for kind in kinds}
    accuracy = {kind: {r["seed"]: 100 * test.accuracy(tuple(r["chosen"])) for r in rs} for kind, rs in found.items()}
    full = accuracy[None, "children"]
    whole = np.mean([r["epochs"] for r in found[None, "children"]])
    for (quantile, ends), mine in found.items():
        difference = paired(accuracy[quantile, ends], full)
        saved = 100 * (1 - np.mean([r["epochs"] for r in mine]) / whole)
        name = "every child fully" if quantile is None else f"quantile {quantile:g}, as many {ends}"
        name = name.replace("as many epochs", f"{100 * SHARE:.0f} % of the epochs")
        apart = "" if quantile is None or difference is None else difference.text(3, "+")
        children, mean = np.mean([r["children"] for r in mine]), np.mean(list(accuracy[quantile, ends].values()))
        print(
            f"| {records[0]['data']} | {name} | {len(mine)} | {children:.0f} | {mean:.2f} | {apart} | {saved:.1f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("choose", "judge"))
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--quantile", type=float, default=0.95)
    parser.add_argument("--out", type=Path, default=Path("runs/early-stopping"))
    o = parser.parse_args()
    journal = Journal(o.out / "searches.jsonl")
    print_header("data", "search", "seeds", "children", "test accuracy %", "− all fully, paired (90 %)", "epochs saved")
    if o.experiment == "choose":
        show(searches("c10", QUANTILES, range(CHOICE_SEEDS, CHOICE_SEEDS + CHOICE_COUNT), journal))
    else:
        for data in COLUMNS:
            show(searches(data, (o.quantile,), range(o.seeds), journal))


if __name__ == "__main__":
    main()
