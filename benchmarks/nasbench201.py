"""Searches on NAS-Bench-201, where every answer is known: published accuracies, published latencies, no training.

    HWNAS_DATA=DIR python benchmarks/nasbench201.py simulated --seeds 200
    HWNAS_DATA=DIR python benchmarks/nasbench201.py optimum --seeds 200
    HWNAS_DATA=DIR python benchmarks/nasbench201.py constrained --seeds 20

simulated: 12,000 s, spent on queries that cost 12/200 of a cell's 200-epoch time and give its 12-epoch validation
accuracy on CIFAR-10; the best is reported by its 200-epoch test accuracy on three data sets.
optimum: queries of the mean 200-epoch accuracy until the cell that has the best one is found; of CIFAR-10's validation
split, or of the column of another data set (`--dataset c100`, `in16`), where guided's settings were not chosen.
constrained: 27 devices × 5 budgets, 100 queries; regret is how far the test accuracy of the cell chosen lies below that
of the best cell within the budget.
A search sees the column it is scored by; test columns are opened when all searches are done. Every search is a line of
`--out`/EXPERIMENT.jsonl, so the command resumes; `--methods` narrows it. METHOD/one-hot is the method on a space that
says nothing of its cells but their options: neither their paths nor which of them compute the same.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from hwnas.compare.paired import interval_90
from hwnas.core.arch import Arch
from hwnas.core.journal import Journal, Record
from hwnas.core.plugins import load
from hwnas.latency.tabular import TabularLatency
from hwnas.search.estimators.tabular import Tabular, TabularSettings
from hwnas.search.lookup import look_up
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import Trial, ranked
from hwnas.spaces import Space
from hwnas.spaces._cell201 import index_of, official_order
from hwnas.spaces.nasbench201 import Nasbench201, Nasbench201Settings


class OneHot(Nasbench201):
    features, function = Space.features, Space.function


SPACE, ONE_HOT = (kind(Nasbench201Settings(cells=1), channels=3, classes=10) for kind in (Nasbench201, OneHot))
CELLS = np.array(official_order())
TESTS = {name: f"{name}_test_acc_200ep_mean" for name in ("c10", "c100", "in16")}
SCORES = {
    "c10": "c10_valid_acc_200ep_seeds",
    "c100": "c100_valtest_acc_200ep_seeds",
    "in16": "in16_valtest_acc_200ep_seeds",
}
"""What a search of 200-epoch accuracies sees, by data set; validation and test are combined but for CIFAR-10."""
CONSTRAINED = ("c10", "c100")

METHODS = {
    "simulated": ("random", "regularized-evolution", "nas-rl", "nao", "local-search", "guided"),
    "optimum": ("regularized-evolution", "local-search", "guided/one-hot", "guided"),
    "constrained": ("random", "regularized-evolution", "local-search", "guided", "nas-rl", "nao"),
}
PUBLISHED = {"random": "93.70 ± 0.36", "regularized-evolution": "93.92 ± 0.30", "nas-rl": "93.85 ± 0.37"}
SLOW = ("nas-rl", "nao")
"""Within budgets: on 3 devices, 2 budgets and 5 seeds. Elsewhere, NAO gets `SLOW_SEEDS`."""
SLOW_SEEDS = 20
SIMULATED_SECONDS, EPOCHS_SHARE = 12_000.0, 12 / 200
MOST_QUERIES, CONSTRAINED_QUERIES = 1000, 100
QUANTILES = (10, 25, 40, 60, 80)
FEW_DEVICES, FEW_QUANTILES = ("gold_6226", "pixel3", "1080ti_1"), (25, 60)

Score = Callable[[Arch], float]


def data() -> Path:
    if "HWNAS_DATA" not in os.environ:
        raise SystemExit("set HWNAS_DATA to the folder that holds nb201/ and latency_help/")
    return Path(os.environ["HWNAS_DATA"])


@cache
def table(column: str) -> Tabular:
    path, seconds = data() / "nb201" / "nb201_accuracy.npz", "c10_train_time_200ep_s"
    settings = TabularSettings(
        path=path, archs="op_index", column=column, unit="percent", seconds=seconds, seconds_share=EPOCHS_SHARE
    )
    return Tabular(SimpleNamespace(space=SPACE), settings)


@cache
def latencies() -> dict[str, TabularLatency]:
    with np.load(data() / "latency_help" / "nb201_latency_ms.npz", allow_pickle=False) as file:
        names = [name.decode() for name in file["devices"]]
        return {n: TabularLatency(SPACE, CELLS, ms) for n, ms in zip(names, file["latency_ms"], strict=True)}


def unconstrained(seed: int) -> Problem:
    return Problem(SPACE, _any_latency(), budget_ms=2.0, seed=seed)


@cache
def _any_latency() -> TabularLatency:
    return TabularLatency(SPACE, CELLS, np.ones(len(CELLS)))


def within(device: str, quantile: int, seed: int) -> Problem:
    latency = latencies()[device]
    return Problem(SPACE, latency, float(np.quantile(latency.predict_many(CELLS), quantile / 100)), seed)


def search(method: str, problem: Problem, score: Score, goes_on: Callable[[list[Trial]], bool]) -> list[Trial]:
    """Asks and tells while `goes_on`."""
    name, _, view = method.partition("/")
    plugin = load("strategies", name)
    problem = replace(problem, space=ONE_HOT) if view == "one-hot" else problem
    strategy = plugin(problem, plugin.Settings(trials=MOST_QUERIES))
    assert isinstance(strategy, Proposer)
    return look_up(strategy, problem, score, goes_on)


def simulated(method: str, seed: int) -> dict[str, Any]:
    column = table("c10_valid_acc_12ep")

    def time_is_left(trials: list[Trial]) -> bool:
        return sum(column.seconds(trial.arch) for trial in trials) < SIMULATED_SECONDS

    trials = search(method, unconstrained(seed), column.accuracy, time_is_left)[:-1]  # the last one came too late
    return {"queries": len(trials), "chosen": index_of(ranked(trials)[0].arch)}


def optimum(method: str, seed: int, dataset: str) -> dict[str, Any]:
    column = table(SCORES[dataset])
    best = max(official_order(), key=column.accuracy)

    def is_hidden(trials: list[Trial]) -> bool:
        return len(trials) < MOST_QUERIES and (not trials or trials[-1].arch != best)

    trials = search(method, unconstrained(seed), column.accuracy, is_hidden)
    return {"queries": len(trials), "found": trials[-1].arch == best}


def constrained(method: str, seed: int, dataset: str, device: str, quantile: int) -> dict[str, Any]:
    problem = within(device, quantile, seed)
    score = table(SCORES[dataset]).accuracy
    trials = search(method, problem, score, lambda trials: len(trials) < CONSTRAINED_QUERIES)
    over = sum(trial.predicted_ms > problem.budget_ms for trial in trials)
    return {"queries": len(trials), "chosen": index_of(ranked(trials)[0].arch), "over_budget": over}


def cases(experiment: str, methods: tuple[str, ...], seeds: int, dataset: str) -> Iterator[dict[str, Any]]:
    """What to run, by seed first, so that a run cut short is a smaller experiment. `dataset`: whose optimum."""
    for seed in range(seeds):
        for method in methods:
            if experiment != "constrained":
                if method != "nao" or seed < SLOW_SEEDS:
                    own = {"dataset": dataset} if experiment == "optimum" else {}
                    yield {"method": method, "seed": seed} | own
                continue
            few = method in SLOW
            for device in FEW_DEVICES if few else latencies():
                for quantile in FEW_QUANTILES if few else QUANTILES:
                    if not few or seed < 5:
                        for constrained_by in CONSTRAINED:
                            yield {"method": method, "seed": seed} | {
                                "dataset": constrained_by,
                                "device": device,
                                "quantile": quantile,
                            }


def run(experiment: str, methods: tuple[str, ...], seeds: int, dataset: str, journal: Journal) -> list[Record]:
    """The records of all cases; those that the journal has are taken from there."""
    judge: Callable[..., dict[str, Any]] = {"simulated": simulated, "optimum": optimum, "constrained": constrained}[
        experiment
    ]
    done = {_key(record): record for record in journal.of(experiment)}
    return [
        done.get(_key(case)) or journal.append(experiment, **case, **judge(**case))
        for case in cases(experiment, methods, seeds, dataset)
    ]


def _key(facts: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(facts.get(name) for name in ("method", "seed", "dataset", "device", "quantile"))


def tests(name: str) -> np.ndarray:
    """Test accuracy in percent, by official index. Called when every search is done."""
    return np.array([100 * table(TESTS[name]).accuracy(arch) for arch in official_order()])


def print_header(*columns: str) -> None:
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")


def print_simulated(records: list[Record], methods: tuple[str, ...]) -> None:
    print_header("method", "seeds", "queries", "CIFAR-10", "CIFAR-100", "ImageNet16-120", "published, CIFAR-10")
    for method in methods:
        mine = [r for r in records if r["method"] == method]
        found = [tests(name)[[r["chosen"] for r in mine]] for name in TESTS]
        cells = " | ".join(f"{f.mean():.2f} ± {f.std():.2f}" for f in found)
        queries = np.mean([r["queries"] for r in mine])
        print(f"| {method} | {len(mine)} | {queries:.0f} | {cells} | {PUBLISHED.get(method, '')} |")


def print_optimum(records: list[Record], methods: tuple[str, ...]) -> None:
    print_header("method", "seeds", "found", "mean queries (90 % interval)", "median", "90th percentile", "most")
    for method in methods:
        mine = [r for r in records if r["method"] == method]
        queries = np.array([r["queries"] for r in mine])
        low, high = interval_90(queries)
        found = sum(r["found"] for r in mine)
        spread = f"{np.median(queries):.0f} | {np.quantile(queries, 0.9):.0f} | {queries.max()}"
        print(f"| {method} | {len(mine)} | {found} | {queries.mean():.1f} ({low:.1f}–{high:.1f}) | {spread} |")
    print(f"\nA search ends at {MOST_QUERIES} queries, and counts as many where it has not found it.")


def print_constrained(records: list[Record], methods: tuple[str, ...]) -> None:
    feasible = {
        (device, q): latencies()[device].predict_many(CELLS) <= within(device, q, 0).limit_ms
        for device in latencies()
        for q in QUANTILES
    }
    tested = {name: tests(name) for name in CONSTRAINED}
    exact = {(name, *key): tested[name][fits].max() for name in CONSTRAINED for key, fits in feasible.items()}

    def regret(record: Record) -> float:
        case = (record["dataset"], record["device"], record["quantile"])
        return exact[case] - tested[record["dataset"]][record["chosen"]]

    budgets = [f"budget {q} %" for q in QUANTILES]
    print_header("data set", "method", "searches", "over budget", "mean regret (90 % interval over seeds)", *budgets)
    for dataset in CONSTRAINED:
        everything = np.array([table(SCORES[dataset]).accuracy(arch) for arch in official_order()])
        best = {key: int(np.where(fits, everything, -1).argmax()) for key, fits in feasible.items()}
        all_known = [{"dataset": dataset, "device": d, "quantile": q, "chosen": i} for (d, q), i in best.items()]
        known = [np.mean([regret(r) for r in all_known if r["quantile"] == q]) for q in QUANTILES]
        print(f"| {dataset} | every score known | – | – | {np.mean(known):.3f} | {_cells(known)} |")
        for method in methods:
            mine = [r for r in records if (r["method"], r["dataset"]) == (method, dataset)]
            seeds = sorted({r["seed"] for r in mine})
            by_seed = np.array([np.mean([regret(r) for r in mine if r["seed"] == seed]) for seed in seeds])
            interval = " ({:.3f}–{:.3f})".format(*interval_90(by_seed)) if len(seeds) > 1 else ""
            over = sum(r["over_budget"] + (not feasible[r["device"], r["quantile"]][r["chosen"]]) for r in mine)
            by_budget = [[regret(r) for r in mine if r["quantile"] == q] for q in QUANTILES]
            cells = _cells([np.mean(regrets) if regrets else None for regrets in by_budget])
            print(f"| {dataset} | {method} | {len(mine)} | {over} | {by_seed.mean():.3f}{interval} | {cells} |")


def _cells(numbers: list[Any]) -> str:
    return " | ".join("" if number is None else f"{number:.2f}" for number in numbers)


PRINT = {"simulated": print_simulated, "optimum": print_optimum, "constrained": print_constrained}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=METHODS)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--methods", nargs="+", help="of: " + ", ".join(METHODS["constrained"]))
    parser.add_argument("--dataset", choices=SCORES, default="c10", help="whose optimum is looked for")
    parser.add_argument("--out", type=Path, default=Path("runs/nasbench201"))
    options = parser.parse_args()
    methods = tuple(options.methods or METHODS[options.experiment])
    journal = Journal(options.out / f"{options.experiment}.jsonl")
    records = run(options.experiment, methods, options.seeds, options.dataset, journal)
    PRINT[options.experiment](records, methods)


if __name__ == "__main__":
    main()
