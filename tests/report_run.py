"""A run directory made by hand: what the report reads, without measuring or training anything."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.journal import Journal
from hwnas.latency.fingerprint import Fingerprint
from hwnas.latency.model import LatencyModel, raw_sum, space_key
from hwnas.latency.protocol import Protocol
from hwnas.latency.table import Calibration, Entry, HeldOutError, LatencyTable, MeasuredNetwork
from hwnas.operators import cost
from hwnas.run.config import RunConfig, resolve
from hwnas.run.result import MeasuredMs, NetworkResult, ParetoPoint, Result
from hwnas.search.trial import Trial, pareto
from hwnas.spaces.mobile import Mobile, MobileSettings

SPACE = {"name": "mobile", "resolution": 16, "widths": [8, 12], "depths": [3, 2], "strides": [1, 2], "head_width": 16}
WINNER: Arch = (0, 6, 2, 4, 6)
IDENTITY: dict[str, str | int] = {"device": "a machine <made> by hand", "runtime": "onnxruntime", "threads": 1}
NOW = "2025-01-01T00:00:00+00:00"


def config(**flags: Any) -> RunConfig:
    return resolve({"space": dict(SPACE)} | flags)


def space() -> Mobile:
    return Mobile(MobileSettings(**{k: v for k, v in SPACE.items() if k != "name"}), channels=1, classes=10)


def table(of: Mobile, identity: dict[str, str | int] = IDENTITY) -> LatencyTable:
    """Operators take time by their multiply-accumulates; whole networks a little more, within ±2 %."""
    specs = {str(c.spec): c.spec for c in of.operators()}
    entries = {}
    for number, (key, spec) in enumerate(sorted(specs.items())):
        ms = 0.01 + cost(spec)[2] / 1e7
        entries[key] = Entry(
            median_ms=ms, p10_ms=0.9 * ms, p90_ms=1.2 * ms, samples=72, rounds=12, stable=number > 0, measured_at=NOW
        )
    target = config().target
    recorded = {"os": "Linux", "governor": "unknown", "load_1min": 0.2}
    found = LatencyTable(
        target=target,
        fingerprint=Fingerprint(identity=identity, recorded=recorded),
        protocol=Protocol(),
        protocol_sha256="",
        entries=entries,
    )
    rng, raw = Random(0), raw_sum(of, found)
    networks = []
    for _ in range(40):
        arch = of.random(rng)
        ms = (1.1 * raw.sum(arch) + 0.02) * rng.uniform(0.98, 1.02)
        networks.append(MeasuredNetwork(arch=arch, median_ms=ms, p90_ms=1.1 * ms, repeat_ms=ms))
    error = HeldOutError(networks=12, mean=0.012, max=0.031, within_5=1, within_10=1, spearman=0.998, noise_floor=0.008)
    calibration = Calibration(fitted=networks[:28], held_out=networks[28:], error=error, measured_at=NOW)
    return found.model_copy(update={"calibration": {space_key(of): calibration}})


class MadeRun:
    """`folder/run` and `folder/latency_tables/cpu.json`; a gradient search unless `strategy` says otherwise."""

    def __init__(self, folder: Path, finished: bool = True, name: str = "run", **flags: Any) -> None:
        self.path, self.config, self.space = folder / name, config(**flags), space()
        self.table = table(self.space)
        self.table.save(folder / "latency_tables" / "cpu.json")
        self.model = LatencyModel(self.space, self.table)
        self.path.mkdir(parents=True)
        (self.path / "config.yaml").write_text(self.config.to_yaml())
        self.journal = Journal(self.path / "journal.jsonl")
        self.trials = self._search()
        self.result = self._result(finished)
        self.save()

    def save(self) -> None:
        (self.path / "result.json").write_text(self.result.model_dump_json())

    def _search(self) -> list[Trial]:
        self.journal.append("profiled", channels=1, classes=10, fingerprint=IDENTITY, spent_seconds=3.0)
        if self.config.strategy.name == "proxyless":
            for epoch, expected in enumerate(np.linspace(0.4, 0.2, 8).tolist()):
                self.journal.append("epoch", epoch=epoch, expected=expected, limit=0.25, entropy=0.5, multiplier=1.0)
            scores = [np.log(np.full(len(c.options), 1 / len(c.options))).tolist() for c in self.space.choices]
            self.journal.append("scores", log_probabilities=scores)
        neighbours = [WINNER, (1, *WINNER[1:]), (*WINNER[:3], 0, 6), self.space.reference()]
        trials = []
        for arch, accuracy in zip(neighbours, (0.98, 0.96, 0.97, 0.99), strict=True):
            trials.append(Trial(arch, accuracy, self.model.predict(arch), self.model.predict_p95(arch)))
            self.journal.append("trial", **trials[-1].facts())
        return trials

    def _network(self, arch: Arch, finished: bool, accuracy: float, within: bool) -> dict[str, Any]:
        ms = self.model.predict(arch)
        outcome = {
            "measured_ms": MeasuredMs(median=1.01 * ms, p90=1.2 * ms, n=500),
            "within_budget": within,
            "accuracy": accuracy,
        }
        return {
            "arch": list(arch),
            "choices": self.space.describe(arch),
            "predicted_ms": ms,
            "predicted_ms_p95": self.model.predict_p95(arch),
            "params": self.space.params(arch),
            "macs": self.space.macs(arch),
        } | (outcome if finished else {})

    def _result(self, finished: bool) -> Result:
        reference = self._network(self.space.reference(), finished, 0.985, within=False)
        if finished:
            self.journal.append("tested", accuracies={}, images=360)
        scaled = NetworkResult(
            space="mobilenetv2", arch=[2], choices={"width": "0.15"}, params=1000, macs=90000, accuracy=0.97
        )
        return Result(
            **self._network(WINNER, finished, 0.9812, within=True),
            space=self.config.space.name,
            strategy=self.config.strategy.name,
            seed=self.config.seed,
            budget=self.config.budget,
            budget_ms=0.9 * self.model.predict(self.space.reference()),
            reference=NetworkResult(space="mobile", **reference),
            reference_scaled=scaled if finished else None,
            pareto=[
                ParetoPoint(
                    arch=list(t.arch),
                    accuracy=t.accuracy,
                    predicted_ms=t.predicted_ms,
                    predicted_ms_p95=t.predicted_ms_p95,
                )
                for t in pareto(self.trials)
            ],
            search_seconds=12.0,
            profile_seconds=3.0,
            versions={"python": "3.11", "hwnas": "0.1.0"},
        )
