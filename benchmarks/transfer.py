"""A new device from ten measurements, on HELP's data and its split of the devices:

    HWNAS_DATA=DIR python benchmarks/transfer.py                  (the test devices: the published figures)
    HWNAS_DATA=DIR python benchmarks/transfer.py --split valid    (what may be looked at while tuning)

A seed draws the networks that the nine other devices' tables hold (900 cells, 4,000 FBNets, as in HELP); the ten are
chosen from at most 1,000 of them, and every figure is of networks that are in no table. The method draws nothing.
Two ways of describing a network: `features` knows its operators alone, so the other devices' latencies of it are
predicted from their tables; `measured` is told what it really took on the other devices.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from help_data import Family, load
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from hwnas.latency.transfer import Transfer, learn

COUNT = 10
CANDIDATES = 1000
CEILING = 3000
HELP = {
    "nb201": {
        "titan_rtx_256": 0.987,
        "gold_6226": 0.989,
        "pixel2": 0.802,
        "raspi4": 0.890,
        "eyeriss": 0.940,
        "fpga": 0.985,
    },
    "fbnet": {"raspi4": 0.887, "eyeriss": 0.943, "fpga": 0.892},
}
"""Published Spearman (tables 2 and 3 of the paper); there measured on each device's middle 80 % of the latencies."""


@dataclass(frozen=True)
class Score:
    spearman: float
    middle: float
    """Spearman without each device's fastest and slowest tenth: HELP's way."""
    within_10: float
    covered: float


def score(ms: np.ndarray, true_ms: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> Score:
    lowest, highest = np.quantile(true_ms, [0.1, 0.9])
    middle = (true_ms >= lowest) & (true_ms <= highest)
    covered = np.nan if low is None or high is None else float(((low <= true_ms) & (true_ms <= high)).mean())
    within = float((np.abs(ms / true_ms - 1) <= 0.1).mean())
    return Score(_spearman(ms, true_ms), _spearman(ms[middle], true_ms[middle]), within, covered)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(spearmanr(a, b)[0])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Draw:
    """A seed's networks: those in the tables that may be chosen, those in none; the other devices' tables for both."""

    family: Family
    table: np.ndarray
    unseen: np.ndarray
    predicted_ms: np.ndarray
    measured_ms: np.ndarray

    @classmethod
    def of(cls, family: Family, seed: int) -> "Draw":
        order = np.random.default_rng(seed).permutation(len(family.features))
        table, unseen = order[: family.table_size], order[family.table_size :]
        measured_ms = np.array([family.latency_ms[device] for device in family.others])
        predicted_ms = np.array([ridge(family.operators, table, ms) for ms in measured_ms])
        return cls(family, table[:CANDIDATES], unseen, predicted_ms, measured_ms)

    def learnt(self, others_ms: np.ndarray) -> Transfer:
        table = self.table
        return learn(self.family.features[table], others_ms[:, table], self.measured_ms[:, table], COUNT)

    def transferred(self, transfer: Transfer, others_ms: np.ndarray, device: str, ten: np.ndarray) -> Score:
        true_ms = self.family.latency_ms[device]
        found = transfer.fit(ten, true_ms[self.table[ten]])
        ms, low, high = found.predict(self.family.features[self.unseen], others_ms[:, self.unseen])
        return score(ms, true_ms[self.unseen], low, high)


def ridge(x: np.ndarray, known: np.ndarray, ms: np.ndarray) -> np.ndarray:
    """Least relative squares on the known networks → ms of all."""
    typical = np.median(ms[known])
    scale = np.sqrt((x[known] ** 2).mean(0)) + 1e-12
    weight = (typical / np.maximum(ms[known], 0.2 * typical)) ** 2
    model = Ridge(alpha=1e-3 * len(known), fit_intercept=False)
    predicted = model.fit(x[known] / scale, ms[known], sample_weight=weight).predict(x / scale)
    return np.maximum(predicted, 0.05 * typical)


def rows(family: Family, devices: list[str], seeds: int) -> dict[str, dict[str, list[Score]]]:
    """Method → device → a score for each seed."""
    found: dict[str, dict[str, list[Score]]] = {}

    def note(method: str, device: str, scored: Score) -> None:
        found.setdefault(method, {}).setdefault(device, []).append(scored)

    for seed in range(seeds):
        draw = Draw.of(family, seed)
        by_features, by_measured = draw.learnt(draw.predicted_ms), draw.learnt(draw.measured_ms)
        chosen, chosen_measured = by_features.choose(COUNT), by_measured.choose(COUNT)
        random = np.random.default_rng(seed).permutation(len(draw.table))[:COUNT]
        for device in devices:
            note("ten chosen, features", device, draw.transferred(by_features, draw.predicted_ms, device, chosen))
            note(
                "ten chosen, measured", device, draw.transferred(by_measured, draw.measured_ms, device, chosen_measured)
            )
            note("ten random, features", device, draw.transferred(by_features, draw.predicted_ms, device, random))
            true_ms = family.latency_ms[device]
            plain = ridge(family.features, draw.table[random], true_ms)[draw.unseen]
            note("ridge on ten random", device, score(plain, true_ms[draw.unseen]))
    for device in devices:
        note(f"{CEILING} labels", device, ceiling(family, device))
    return found


def ceiling(family: Family, device: str) -> Score:
    """With many labels of the device itself: of a ridge and of boosted trees, for each figure the better. One draw."""
    order = np.random.default_rng(0).permutation(len(family.features))
    known, unseen, ms = order[:CEILING], order[CEILING:], family.latency_ms[device]
    x = np.column_stack([family.features, family.operators])
    trees = HistGradientBoostingRegressor(max_iter=300, random_state=0).fit(x[known], np.log(ms[known]))
    one = score(ridge(family.operators, known, ms)[unseen], ms[unseen])
    other = score(np.exp(trees.predict(x[unseen])), ms[unseen])
    figures = (max(getattr(one, name), getattr(other, name)) for name in ("spearman", "middle", "within_10"))
    return Score(*figures, covered=np.nan)


def print_table(found: dict[str, dict[str, list[Score]]], devices: list[str], published: dict[str, float]) -> None:
    print(f"| method | figure | {' | '.join(devices)} | mean | worst to best seed |")
    print("|---" * (len(devices) + 4) + "|")
    if set(published) & set(devices):
        cells = [f"{published[d]:.3f}" if d in published else "" for d in devices]
        print(f"| HELP, published | middle 80 % | {' | '.join(cells)} | {np.mean(list(published.values())):.3f} | |")
    figures: list[tuple[str, Callable[[Score], float]]] = [
        ("Spearman", lambda s: s.spearman),
        ("middle 80 %", lambda s: s.middle),
        ("within ±10 %", lambda s: s.within_10),
        ("in the 95 % interval", lambda s: s.covered),
    ]
    for method, by_device in found.items():
        for name, figure in figures:
            values = np.array([[figure(s) for s in by_device[device]] for device in devices])
            if np.isnan(values).any():
                continue
            cells = [f"{v:.3f}" for v in values.mean(1)]
            seeds = values.mean(0)
            spread = f"{seeds.min():.3f} to {seeds.max():.3f}" if len(seeds) > 1 else ""
            print(f"| {method} | {name} | {' | '.join(cells)} | {values.mean():.3f} | {spread} |")


def print_seeds(found: dict[str, dict[str, list[Score]]], devices: list[str]) -> None:
    by_device = found["ten chosen, features"]
    print(f"\nSpearman of every seed, ten chosen, features:\n\n| seed | {' | '.join(devices)} | mean |")
    print("|---" * (len(devices) + 2) + "|")
    for seed in range(len(by_device[devices[0]])):
        values = [by_device[device][seed].spearman for device in devices]
        print(f"| {seed} | {' | '.join(f'{v:.3f}' for v in values)} | {np.mean(values):.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=HELP, action="append", help="both unless given")
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    for space in options.space or HELP:
        family = load(space)
        devices = family.valid if options.split == "valid" else family.test
        print(f"\n## {space}, {options.split} devices, {options.seeds} seeds\n")
        found = rows(family, devices, options.seeds)
        print_table(found, devices, HELP[space])
        print_seeds(found, devices)


if __name__ == "__main__":
    main()
