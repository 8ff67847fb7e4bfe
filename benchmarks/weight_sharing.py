"""Weight-sharing searches on NAS-Bench-201's own space with CIFAR-10, held against the published truth of all cells.

    HWNAS_DATA=DIR python benchmarks/weight_sharing.py --data-dir CIFAR10
    HWNAS_DATA=DIR python benchmarks/weight_sharing.py --data-dir CIFAR10 --published --device cuda --seconds 540
    HWNAS_DATA=DIR python benchmarks/weight_sharing.py --data-dir CIFAR10 --steps

The first is reduced (three cells, 8 channels, 6,000 images), the last only times one search step of each method.
Rates are the papers', for batches of 64; `--batch` scales them in proportion (arXiv:1706.02677).
For each method: the test accuracy, from the table, of the mode of what it learned (what its paper would build) and of
what our driver took after comparing a few on the search split; Kendall's τ between accuracy with shared weights and the
truth, over random cells; whether the search collapsed; time and memory. DIR/nb201 holds the table. Nothing of it is
seen by a search, and no test image by anything. `--budget pixel3:40`: within the 40 % quantile of a published device.

Everything done is in `--out`, so the same command goes on; `--seconds` ends it early, with status 1, until it is done.
An epoch that was cut off is trained again, and its time counted twice.
"""

import argparse
import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from nasbench201 import CELLS, latencies, print_header, tests
from scipy.stats import kendalltau
from supernet import Live, now
from torch import nn

from hwnas.core.errors import HwnasError
from hwnas.core.journal import Journal, Record
from hwnas.core.plugins import load
from hwnas.core.seeds import derive, numpy_stream
from hwnas.latency.additive import Additive
from hwnas.latency.tabular import TabularLatency
from hwnas.operators.costs import macs
from hwnas.search.ask_tell import propose
from hwnas.search.collapse import collapsing_since
from hwnas.search.driver import relax
from hwnas.search.estimators import Means
from hwnas.search.estimators.shared_weights import SharedWeights as SharedWeightsEstimator
from hwnas.search.estimators.shared_weights import SharedWeightsSettings
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer, Relaxation
from hwnas.search.trial import ranked
from hwnas.spaces._cell201 import index_of
from hwnas.spaces.nasbench201 import MixedCell, Nasbench201, Nasbench201Settings
from hwnas.training.batch_norm import batch_norms
from hwnas.training.compute import Device
from hwnas.training.data import Data, ImageSplit, open_data
from hwnas.training.schedule import optimizer_of
from hwnas.training.settings import Compute, Recipe
from hwnas.training.supernet import SharedWeights

PLUGINS: dict[str, tuple[str, dict[str, Any]]] = {
    "darts": ("darts", {}),
    "darts-2": ("darts", {"order": 2}),
    "snas": ("snas", {}),
    "gdas": ("gdas", {}),
    "proxyless": ("proxyless", {}),
    "proxyless-rl": ("proxyless-rl", {}),
    "spos": ("spos", {}),
    "enas": ("enas", {}),
    "spos-fair": ("spos", {}),
    "spos-sandwich": ("spos", {}),
    "fbnet": ("fbnet", {}),
}
METHODS = tuple(name for name in PLUGINS if name not in ("spos-fair", "spos-sandwich", "fbnet"))
PATHS: dict[str, Literal["fair", "sandwich"]] = {"spos-fair": "fair", "spos-sandwich": "sandwich"}
"""How the shared weights' paths are drawn; of others uniformly."""
PUBLISHED_EPOCHS = {"darts": 50, "darts-2": 50, "gdas": 250, "snas": 150, "fbnet": 90}
"""Others: 100."""
PUBLISHED_RATES = {"darts": 3e-4, "darts-2": 3e-4, "gdas": 3e-4, "snas": 3e-4, "proxyless": 1e-3, "proxyless-rl": 1e-3}
SUPERNET = "supernet.safetensors"
NOT_OF_THE_SEARCH = ("data_dir", "methods", "seconds", "steps", "ranked", "out", "weights", "json")
EVERY_STEP = {"warmup": 0.0, "every": 1, "second_phase": 1.0}
"""Settings with which every weight step is followed by an architecture step, of those a method has."""


class FixedScale(Nasbench201):
    """As the papers search: the options' batch norms learn no scale, which would take α's place (DARTS, appendix A)."""

    def supernet(self) -> nn.Module:
        net = super().supernet()
        for cell in (module for module in net.modules() if isinstance(module, MixedCell)):
            for norm in batch_norms(cell):
                norm.requires_grad_(False)
        return net


class Unpriced(TabularLatency):
    """A search without a budget: no option costs anything. What a cell is said to take, its multiply-accumulates, only
    orders those that the search split cannot tell apart."""

    def __init__(self, space: Nasbench201) -> None:
        work = Additive(space, np.array([macs(c.spec) / 1e6 for c in space.operators()]))
        super().__init__(space, CELLS, work.sum_many(CELLS))
        self.additive = Additive(space, np.zeros(len(work.values)), constant=float(min(self._ms.values())))


class Method:
    """One search, in a folder of its own."""

    def __init__(self, name: str, data: Data, options: argparse.Namespace) -> None:
        self.name, self.options = name, options
        self.folder = options.out / f"{name}-{options.seed}"
        self.journal = Journal(self.folder / "journal.jsonl")
        settings = {"resolution": 32, "width": options.width, "cells": options.cells}
        kind = FixedScale if options.published else Nasbench201
        self.space = kind(Nasbench201Settings(**settings), channels=3, classes=10)
        device = Device(Compute(device=options.device, threads=options.threads, bf16=options.bf16))
        self.means = Means(self.space, data, self._recipe(), device, options.seed, 1, self.folder)
        self.problem = self._problem()
        identity = {k: str(v) for k, v in vars(options).items() if k not in NOT_OF_THE_SEARCH}
        if (self.journal.last("options") or self.journal.append("options", options=identity))["options"] != identity:
            raise SystemExit(f"{self.folder} holds a search with other options: choose another --out")

    def _recipe(self) -> Recipe:
        o = self.options
        if not o.published:
            return Recipe(epochs=o.epochs or 12, batch_size=o.batch)
        rate = 0.025 * o.batch / 64
        sgd: dict[str, Any] = {
            "learning_rate": rate,
            "weight_decay": 5e-4,
            "warmup_epochs": 0.0,
            "label_smoothing": 0.0,
        }
        return Recipe(epochs=o.epochs or PUBLISHED_EPOCHS.get(self.name, 100), batch_size=o.batch, **sgd)

    def _problem(self) -> Problem:
        if self.options.budget is None:
            return Problem(self.space, Unpriced(self.space), budget_ms=1e9, seed=self.options.seed)
        device, _, quantile = self.options.budget.partition(":")
        ms = latencies()[device].predict_many(CELLS)
        latency = TabularLatency(self.space, CELLS, ms)
        return Problem(self.space, latency, float(np.quantile(ms, float(quantile) / 100)), self.options.seed)

    def strategy(self, **changed: Any) -> Proposer | Relaxation:
        plugin, own = PLUGINS[self.name]
        kind = load("strategies", plugin)
        if self.options.published and self.name in PUBLISHED_RATES:
            own = own | {"learning_rate": PUBLISHED_RATES[self.name] * self.options.batch / 64}
        settings = kind.Settings(**own | {k: v for k, v in changed.items() if k in kind.Settings.model_fields})
        if issubclass(kind, Relaxation):
            return kind(self.problem, settings, self.means.recipe.epochs)
        return kind(self.problem, settings)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """What a slice took goes to the journal, also when it is cut off."""
        start = perf_counter()
        try:
            yield
        finally:
            self.journal.append("slice", phase=phase, seconds=perf_counter() - start)

    def seconds(self, phase: str) -> float:
        return sum(record["seconds"] for record in self.journal.of("slice", phase=phase))

    def step(self) -> None:
        """What one search step costs: a weight step and an architecture step."""
        if self.journal.last("step") is not None:
            return
        means, strategy = self.means, self.strategy(**EVERY_STEP)
        if isinstance(strategy, Relaxation):
            companion: Any = strategy
            weights = SharedWeights(self.space, means.data, means.recipe, means.device, means.seed)
        else:
            estimator = self.estimator(means)
            companion, weights = estimator.paths, estimator.weights
        optimizer = optimizer_of(weights.net, means.recipe)
        generator = torch.Generator().manual_seed(0)
        batches, guide = (
            split.on(means.device.torch).endless(means.recipe.batch_size, 0, name)
            for name, split in (("w", means.data.weights), ("s", means.data.search))
        )
        end_of_search = means.recipe.epochs - 1e-7  # of an epoch, too: that is when ENAS's controller learns

        def step() -> None:
            weights.step(companion, next(batches), guide, optimizer, end_of_search, generator)

        ms = []
        for _ in range(7):
            start = now(means.device)
            step()
            ms.append(1e3 * (now(means.device) - start))
        weights.run = weights.net  # replayed kernels allocate nothing that could be seen
        with Live(weights.net) as live:
            live.known |= {t.untyped_storage()._cdata for s in optimizer.state.values() for t in s.values()}
            step()
        self.journal.append("step", ms=float(np.median(ms[2:])), peak_mb=live.peak / 1e6)

    def search(self) -> None:
        if self.journal.last("chosen") is not None:
            return
        trained = self.folder / SUPERNET
        if self.options.weights and not trained.exists():
            shutil.copyfile(self.options.weights, trained)
        with self.timed("search"):
            strategy = self.strategy()
            if isinstance(strategy, Relaxation):
                found = relax(strategy, self.means, self.problem, self.journal)
                mode = self.problem.project(strategy.scores(), 1)[0]
            else:
                judge = self.estimator(self.means)
                found = propose(strategy, judge, self.means, self.problem, self.journal, "trial")
                mode = ranked(found.trials)[0].arch
        self.journal.append("chosen", mode=list(mode), arch=list(found.candidates[0].arch))

    def rank(self) -> None:
        """Random cells, judged with the shared weights on some images of the search split."""
        rng = numpy_stream(derive(self.options.seed, "ranked"))
        indices = rng.permutation(len(CELLS))[: self.options.ranked].tolist()
        left = indices[len(self.cells()) :]
        if not left:
            return
        with self.timed("rank"):
            few, search = copy(self.means.data), self.means.data.search
            assert isinstance(search, ImageSplit)
            few.search = replace(search, images=search.images.take(np.arange(min(self.options.judged, len(search)))))
            estimator = self.estimator(replace(self.means, data=few))
            estimator.prepare()
            for index in left:
                arch = tuple(CELLS[index].tolist())
                self.journal.append("ranked", index=index, accuracy=estimator.accuracy(arch))

    def cells(self) -> list[Record]:
        """What `rank` found; more may be there from an earlier call."""
        return list(self.journal.of("ranked"))[: self.options.ranked]

    def tau(self, truth: np.ndarray) -> float:
        """Kendall's, over the cells that were ranked. `truth`: by official index."""
        cells = self.cells()
        statistic: Any = kendalltau([c["accuracy"] for c in cells], truth[[c["index"] for c in cells]])[0]
        return float(statistic)

    def estimator(self, means: Means) -> SharedWeightsEstimator:
        """By the supernet trained there; where there is none, it trains one."""
        return SharedWeightsEstimator(means, SharedWeightsSettings(paths=PATHS.get(self.name, "uniform")))


def facts(method: Method, truth: np.ndarray) -> dict[str, Any]:
    """Accuracies in percent. `fits`, `mean`, `best`: of the cells within the budget."""
    chosen, step = method.journal.last("chosen"), method.journal.last("step")
    assert chosen is not None and step is not None
    tau = method.tau(truth) if method.options.ranked else None
    epochs = list(method.journal.of("epoch"))
    since = collapsing_since(epochs) if epochs else None
    within = truth[method.problem.latency.predict_many(CELLS) <= method.problem.limit_ms]
    return {
        "method": method.name,
        "budget": method.options.budget,
        "mode": float(truth[index_of(tuple(chosen["mode"]))]),
        "taken": float(truth[index_of(tuple(chosen["arch"]))]),
        "tau": tau,
        "collapsed": "–" if not epochs else "no" if since is None else f"since epoch {since + 1} of {len(epochs)}",
        "search_seconds": method.seconds("search"),
        "step_ms": step["ms"],
        "step_mb": step["peak_mb"],
        "within": float(len(within) / len(truth)),
        "mean": float(within.mean()),
        "best": float(within.max()),
    }


def row(f: dict[str, Any]) -> str:
    tau = "–" if f["tau"] is None else f"{f['tau']:.3f}"
    found = f"{f['mode']:.2f} | {f['taken']:.2f} | {tau} | {f['collapsed']}"
    return f"| {f['method']} | {found} | {f['search_seconds']:.0f} | {f['step_ms']:.0f} | {f['step_mb']:.0f} |"


def print_results(rows: list[dict[str, Any]]) -> None:
    print_header("method", "mode", "taken", "τ", "collapsed", "search s", "step ms", "step MB")
    for f in rows:
        print(row(f))
    means = f"the mean cell {rows[0]['mean']:.2f}, the best {rows[0]['best']:.2f}"
    inside = " within the budget" * (rows[0]["within"] < 1)
    print(f"\nmode, taken: published CIFAR-10 test accuracy in percent; {means}{inside}")


def print_steps(methods: list[Method]) -> None:
    """Ratios are to the cheapest; every weight step is followed by an architecture step, if the method has any."""
    steps = {method.name: record for method in methods if (record := method.journal.last("step"))}
    least_ms, least_mb = (min(step[key] for step in steps.values()) for key in ("ms", "peak_mb"))
    print_header("method", "ms", "time ratio", "peak MB", "memory ratio")
    for name, step in steps.items():
        ms, mb = step["ms"], step["peak_mb"]
        print(f"| {name} | {ms:.0f} | {ms / least_ms:.2f} | {mb:.1f} | {mb / least_mb:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="CIFAR-10, binary or python version")
    parser.add_argument("--methods", nargs="+", choices=PLUGINS, default=METHODS)
    parser.add_argument("--published", action="store_true", help="16 channels, 5 cells, all images, the papers' epochs")
    parser.add_argument("--epochs", type=int, help="default: 12, or the papers'")
    parser.add_argument("--images", type=int, help="default: 6,000, or all")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--cells", type=int, default=1, help="a stage")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--search-fraction", type=float, default=0.5, help="of the images")
    parser.add_argument("--ranked", type=int, default=300, help="cells for Kendall's τ")
    parser.add_argument("--judged", type=int, default=2000, help="images of the search split that judge each of them")
    parser.add_argument("--budget", help="DEVICE:QUANTILE of the published latencies; default: none")
    parser.add_argument("--weights", type=Path, help="of spos: a supernet trained before, by the same options")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", action="store_true", help="only what a step costs")
    parser.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    parser.add_argument("--seconds", type=float, help="stop after so many; the same command goes on")
    parser.add_argument("--out", type=Path, default=Path("runs/weight-sharing"))
    options = parser.parse_args()
    if options.published:
        options.width, options.cells = 16, 5
    else:
        options.images = options.images or 6000
    if options.seconds:
        signal.signal(signal.SIGALRM, _time_is_up)
        signal.setitimer(signal.ITIMER_REAL, options.seconds)
    own = {"dir": options.data_dir, "search_fraction": options.search_fraction, "limit": options.images}
    data = open_data("cifar10", own, 32, options.seed)
    methods = [Method(name, data, options) for name in options.methods]
    for method in methods:
        method.step()
    if options.steps:
        return print_steps(methods)
    for method in methods:
        method.search()
        method.rank()
    truth = tests("c10")
    rows = [facts(method, truth) for method in methods]
    print_results(rows)
    if options.json:
        print(json.dumps({"rows": rows}))
    return None


def _time_is_up(*_: object) -> None:
    raise SystemExit("time is up: the same command goes on")


if __name__ == "__main__":
    try:
        main()
    except HwnasError as error:
        raise SystemExit(str(error)) from error
