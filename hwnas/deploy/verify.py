"""Is a bundle what its manifest says? Answered from the bundle alone, which may come from anybody.

Hashes first: nothing is loaded from a folder that is not the one written. Then structure and preprocessing, then what
each format computes, and how fast.
"""

from dataclasses import asdict, dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.core.budget import parse_budget
from hwnas.core.config import PluginSettings
from hwnas.core.errors import BadInput, VerificationFailed
from hwnas.core.files import read_regular
from hwnas.core.target import Target, load_target
from hwnas.deploy.behaviour import check_accuracy, check_parity
from hwnas.deploy.formats import open_formats
from hwnas.deploy.inspection import Check, check_files, check_preprocessing, check_structure
from hwnas.deploy.manifest import MOST_BYTES, Manifest, read_manifest
from hwnas.deploy.measure import time_rounds
from hwnas.deploy.samples import read_samples
from hwnas.devices import open_runtime
from hwnas.latency.fingerprint import fingerprint, how_known

_CONFIDENCE = 0.99


@dataclass(frozen=True)
class Outcome:
    """The checks made, in order. One that fails ends those that build on it, so an outcome with failures is shorter."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def facts(self) -> dict[str, Any]:
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}

    def raise_for_failure(self) -> None:
        """Raises VerificationFailed naming the checks that failed."""
        failed = {check.name: check.detail for check in self.checks if not check.ok}
        if failed:
            mend = "verify it again on a quiet machine" if [*failed] == ["latency"] else "export the network again"
            what = "; ".join(f"{name} ({detail})" for name, detail in failed.items())
            raise VerificationFailed(f"the bundle fails: {what}", f"do not ship it; {mend}")


def verify_bundle(folder: Path, target_name: str | None = None, data: PluginSettings | None = None) -> Outcome:
    """On the manifest's target, or on another; with `data`, also how accurate each format is on its test split.

    Raises BadInput for a folder that holds no readable bundle, Unavailable when the target is not here.
    """
    manifest = read_manifest(folder)
    if manifest.target.host and not target_name:  # or its author chooses what to connect to, and what runs there
        raise BadInput(f"the bundle is for the device at {manifest.target.host}", "say which is yours: --target NAME")
    target = load_target(target_name) if target_name else manifest.target
    checks = [check_files(folder, manifest)]
    if checks[-1].ok:
        samples = read_samples(folder / "samples.safetensors")
        contents = {name: read_regular(folder / name, MOST_BYTES) for name in manifest.files}
        checks.append(check_structure(contents, manifest, samples))
        if checks[-1].ok:
            checks.append(check_preprocessing(contents, manifest, samples))
        if checks[-1].ok:
            formats, unread = open_formats(manifest.formats, contents, manifest.deployed)
            checks.append(check_parity(formats, unread, samples, target))
            checks.append(check_accuracy(formats, manifest, data, target))
            checks.append(_latency(contents[manifest.deployed], manifest, target))
    return Outcome(tuple(checks))


def _latency(model: bytes, manifest: Manifest, target: Target) -> Check:
    """Fails when the latency is over the budget with 99 % confidence: noise alone should not refuse a bundle."""
    statistic = parse_budget(manifest.budget).statistic
    (rounds,) = time_rounds({manifest.deployed: model}, target, seed=0).values()
    per_round = np.sort([np.percentile(samples, 50 if statistic == "median" else 90) for samples in rounds]) / 1e6
    low_ms = lower_bound(per_round)
    measured_ms = float(np.median(per_round))
    here = fingerprint(open_runtime(target)).identity
    known = how_known(here)
    certainty = f"at least {low_ms:.4g} ms with 99 % confidence" if known == "measured" else known
    detail = (
        f"{statistic} {measured_ms:.4g} ms on {target.name} ({certainty}), budget "
        f"{manifest.budget_ms:.4g} ms, predicted median {manifest.predicted_ms:.4g} ms"
    )
    others = [key for key in here if manifest.fingerprint.get(key) != here[key]]
    if others:
        found = ", ".join(f"{key} {here[key]!r} and not {manifest.fingerprint.get(key)!r}" for key in others)
        detail += f"; not where the budget was promised: {found}"
    return Check("latency", low_ms <= manifest.budget_ms, detail)


def lower_bound(ordered: np.ndarray) -> float:
    """Of the median of what `ordered` (ascending) was drawn from: the largest order statistic that lies below it with
    99 % confidence, whatever the distribution; the smallest where there are too few (under 7) for that.

    Used on one value a round. Samples within a round share the machine's mood, so they are not independent draws;
    rounds, apart in time, nearly are.
    """
    n, rank, below = len(ordered), 0, 0.0
    while rank < n and (below := below + comb(n, rank) / 2**n) <= 1 - _CONFIDENCE:
        rank += 1
    return float(ordered[max(rank, 1) - 1])
