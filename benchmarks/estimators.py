"""What cheap estimates know of a full training, on NAS-Bench-201, where every answer is published.

    HWNAS_DATA=DIR python benchmarks/estimators.py published
    HWNAS_DATA=DIR python benchmarks/estimators.py proxies --data-dir CIFAR10 --cells 40

published: Spearman and Kendall with the 200-epoch accuracy of 12-epoch training (15,625 cells), of published zero-cost
proxies and their vote, of extrapolated learning curves and of a predictor (on the 200 cells whose curves are published;
10-fold, fitted on the other folds only; the predictor's labels are drawn 20 times).
proxies: our zero-cost proxies on CIFAR-10 with the published skeleton, against the published values of the same cells.
"""

import argparse
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from nasbench201 import print_header
from scipy.stats import kendalltau, spearmanr
from sklearn.model_selection import KFold
from torch.nn import functional

from hwnas.core.journal import Journal
from hwnas.core.progress import Progress
from hwnas.core.seeds import derive, numpy_stream
from hwnas.search.curves import describe
from hwnas.search.forecast import Forecast
from hwnas.search.proxies import PROXIES, ranks
from hwnas.spaces import _cell201 as cell201
from hwnas.spaces.nasbench201 import Nasbench201, Nasbench201Settings
from hwnas.training.data import open_data

FOLDS, LABEL_DRAWS, BATCH = 10, 20, 64
SEEN = (10, 25, 50, 100)
THEIRS = {"synflow": "zc_synflow", "jacov": "zc_jacob_cov", "snip": "zc_snip", "grad-norm": "zc_grad_norm"}
"""Our proxy → its published column; naswot has none."""
VOTERS = ("zc_synflow", "zc_jacob_cov", "zc_snip")
"""Of the vote in arXiv:2101.08134, section 4."""
PUBLISHED = {
    "zc_grad_norm": "0.58",
    "zc_snip": "0.58",
    "zc_grasp": "0.48",
    "zc_fisher": "0.36",
    "zc_jacob_cov": "0.73",
    "zc_synflow": "0.74",
    "vote": "0.82",
}
"""Spearman on CIFAR-10, all 15,625 cells (arXiv:2101.08134, table 1)."""


@cache
def columns(file: str) -> dict[str, np.ndarray]:
    if "HWNAS_DATA" not in os.environ:
        raise SystemExit("set HWNAS_DATA to the folder that holds nb201/")
    with np.load(Path(os.environ["HWNAS_DATA"]) / "nb201" / file, allow_pickle=False) as found:
        return dict(found)


def correlations(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Spearman's ρ and Kendall's τ."""
    rho, tau = np.asarray(spearmanr(estimate, truth))[0], np.asarray(kendalltau(estimate, truth))[0]
    return float(rho), float(tau)


def line(name: str, estimate: np.ndarray, truth: np.ndarray, beside: str = "") -> None:
    known = np.where(np.isfinite(estimate), estimate, -np.inf)
    rho, tau = correlations(known, truth)
    print(f"| {name} | {len(truth)} | {rho:.3f} | {tau:.3f} | {beside} |")


def published() -> None:
    print_header("estimate", "cells", "Spearman", "Kendall τ", "90 % intervals hold, or published")
    table = columns("nb201_accuracy.npz")
    for name in ("c10", "c100", "in16"):
        valid = "c10_valid_acc_12ep" if name == "c10" else f"{name}_valid_acc_12ep"
        line(f"12 of 200 epochs, own schedule: {name}", table[valid], table[f"{name}_test_acc_200ep_mean"])
    curves = columns("nb201_curves_200archs.npz")
    print_proxies(curves)
    print_curves(curves)
    print_predictor(curves)


def print_proxies(curves: dict[str, np.ndarray]) -> None:
    truth = columns("nb201_accuracy.npz")["c10_test_acc_200ep_mean"][curves["arch_index"]]
    for name in curves:
        if name.startswith("zc_"):
            line(f"published {name}", curves[name], truth, PUBLISHED.get(name, ""))
    line("their vote", ranks(np.stack([curves[name] for name in VOTERS], axis=1)), truth, PUBLISHED["vote"])


def print_curves(curves: dict[str, np.ndarray]) -> None:
    both = np.stack([curves["train_acc"], curves["valid_acc"]], axis=-1) / 100
    truth = both[:, -1, 1]
    for epochs in SEEN:
        line(f"last of {epochs} epochs", both[:, epochs - 1, 1], truth)
        line(f"best of {epochs} epochs", both[:, :epochs, 1].max(axis=1), truth)
        for name, seen in (("validation curve", both[:, :epochs, 1:]), ("both curves", both[:, :epochs])):
            estimate, held = folded(describe(seen), truth)
            line(f"extrapolated from {epochs} epochs, {name}", estimate, truth, f"{100 * held:.1f} %")


def folded(features: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """Forecasts of each fold by the others, and the share of 90 % intervals that hold."""
    estimate, held = np.empty(len(truth)), 0
    for known, asked in KFold(FOLDS, shuffle=True, random_state=0).split(features):
        forecasts = Forecast.of_each(features[known], truth[known], features[asked])
        estimate[asked] = [forecast.accuracy for forecast in forecasts]
        held += holding(forecasts, truth[asked])
    return estimate, held / len(truth)


def holding(forecasts: list[Forecast], truth: np.ndarray) -> int:
    bounds = [forecast.interval_90 for forecast in forecasts]
    return sum(low <= value <= high for (low, high), value in zip(bounds, truth, strict=True))


def print_predictor(curves: dict[str, np.ndarray]) -> None:
    """Labels are validation accuracies of 200 epochs; judged on all the other cells of the table."""
    table = columns("nb201_accuracy.npz")
    seeds = table["c10_valid_acc_200ep_seeds"] / 100
    truth = np.nanmean(seeds, axis=1)
    features = cell201.describe(np.array(table["op_index"], dtype=int))
    for labels in (50, 100, 200):
        found = np.array(list(predicted(features, truth, labels)))
        rho, tau, held = found.mean(axis=0)
        spread = found[:, 0].std(ddof=1)
        name = f"predictor of {labels} labels"
        print(f"| {name} | {len(truth) - labels} | {rho:.3f} ± {spread:.3f} | {tau:.3f} | {100 * held:.1f} % |")


def predicted(features: np.ndarray, truth: np.ndarray, labels: int) -> Iterator[tuple[float, float, float]]:
    for draw in range(LABEL_DRAWS):
        order = numpy_stream(draw, "labels", labels).permutation(len(truth))
        known, asked = order[:labels], order[labels:]
        forecasts = Forecast.of_each(features[known], truth[known], features[asked])
        estimate = np.array([forecast.accuracy for forecast in forecasts])
        held = holding(forecasts, truth[asked]) / len(asked)
        yield *correlations(estimate, truth[asked]), held


def proxies(data_dir: Path, cells: int, out: Path) -> None:
    """Ours against the published values of the same cells. Every cell is a line of the journal, so it resumes."""
    curves, journal = columns("nb201_curves_200archs.npz"), Journal(out / "proxies.jsonl")
    space = Nasbench201(Nasbench201Settings(), channels=3, classes=10)
    batch = first_batch(data_dir)
    chosen = curves["arch_index"][:: max(1, len(curves["arch_index"]) // cells)][:cells]
    with Progress("proxies", len(chosen), done=len(list(journal.of("cell")))) as progress:
        for index in map(int, chosen):
            if journal.last("cell", index=index) is None:
                torch.manual_seed(derive(0, "proxies", index) % 2**63)
                network = space.build(cell201.official_order()[index])
                found = {name: proxy(network, *batch, functional.cross_entropy) for name, proxy in PROXIES.items()}
                journal.append("cell", index=index, scores={n: v if np.isfinite(v) else None for n, v in found.items()})
                progress.advance()
    records = [record for record in journal.of("cell") if record["index"] in chosen]
    rows = {index: row for row, index in enumerate(curves["arch_index"].tolist())}
    places = [rows[record["index"]] for record in records]
    truth = columns("nb201_accuracy.npz")["c10_test_acc_200ep_mean"][[record["index"] for record in records]]
    scores = np.array([[r["scores"][n] for n in PROXIES] for r in records], dtype=float)  # None becomes NaN
    print_header("proxy", "cells", "Spearman: ours to theirs", "ours to the truth", "theirs to the truth")
    for name, ours in zip(PROXIES, scores.T, strict=True):
        theirs = curves[THEIRS[name]][places] if name in THEIRS else None
        known = np.isfinite(ours) if theirs is None else np.isfinite(ours) & np.isfinite(theirs)
        alike = "" if theirs is None else f"{correlations(ours[known], theirs[known])[0]:.3f}"
        beside = "" if theirs is None else f"{correlations(theirs[known], truth[known])[0]:.3f}"
        print(f"| {name} | {known.sum()} | {alike} | {correlations(ours[known], truth[known])[0]:.3f} | {beside} |")
    print(f"| vote of the five | {len(truth)} |  | {correlations(ranks(scores), truth)[0]:.3f} |  |")


def first_batch(data_dir: Path) -> tuple[torch.Tensor, torch.Tensor]:
    data = open_data("cifar10", {"dir": str(data_dir)}, resolution=32, seed=0)
    return next(data.train.epoch(BATCH, torch.Generator().manual_seed(0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("published", "proxies"))
    parser.add_argument("--data-dir", type=Path, help="CIFAR-10, for proxies")
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("runs/estimators"))
    o = parser.parse_args()
    if o.experiment == "published":
        published()
    else:
        proxies(o.data_dir, o.cells, o.out)


if __name__ == "__main__":
    main()
