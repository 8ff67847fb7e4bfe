"""Is a bundle what its manifest says? Answered from the bundle alone, which may come from anybody.

Hashes first: nothing is loaded from a folder that is not the one written. Then structure, then parity and latency.
"""

from dataclasses import asdict, dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hwnas.core.budget import parse_budget
from hwnas.core.errors import BadInput, VerificationFailed
from hwnas.core.files import sha256
from hwnas.core.target import Target, load_target
from hwnas.deploy import structure
from hwnas.deploy.manifest import MANIFEST, MOST_BYTES, Manifest, read_manifest, read_regular
from hwnas.deploy.measure import time_rounds
from hwnas.deploy.parity import compare, exporter_of, require_parity
from hwnas.devices import open_runtime
from hwnas.latency.fingerprint import fingerprint, how_known

_ALWAYS = {"README.md", "arch.json", "model.onnx", "samples.safetensors", "weights.safetensors"}
_MOST_SAMPLE_BYTES = 1 << 28
_CONFIDENCE = 0.99


@dataclass(frozen=True)
class Check:
    """`detail`: what was found, in one line."""

    name: str
    ok: bool
    detail: str


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


def verify_bundle(folder: Path, target_name: str | None = None) -> Outcome:
    """On the manifest's target, or on another. Raises BadInput for a folder that holds no readable bundle, Unavailable
    when the target is not here.
    """
    manifest = read_manifest(folder)
    if manifest.target.host and not target_name:  # or its author chooses what to connect to, and what runs there
        raise BadInput(f"the bundle is for the device at {manifest.target.host}", "say which is yours: --target NAME")
    target = load_target(target_name) if target_name else manifest.target
    checks = [_files(folder, manifest)]
    if checks[-1].ok:
        samples = _samples(folder / "samples.safetensors")
        models = {name: read_regular(folder / name, MOST_BYTES) for name in manifest.files if name.endswith(".onnx")}
        checks.append(_structure(models, samples))
        if checks[-1].ok:
            checks.append(_parity(models, samples, manifest.deployed, target))
            checks.append(_latency(models[manifest.deployed], manifest, target))
    return Outcome(tuple(checks))


def _files(folder: Path, manifest: Manifest) -> Check:
    """Unlisted files of a kind that the bundle holds could be taken for a part of it; a user's notes could not."""
    kinds = {Path(name).suffix for name in manifest.files}
    present = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {MANIFEST}
    listed = {name for name in manifest.files if (folder / name).is_file()}
    faults = {
        "not in the manifest": {name for name in present - manifest.files.keys() if Path(name).suffix in kinds},
        "not listed": (_ALWAYS | {manifest.deployed}) - manifest.files.keys(),
        "missing": manifest.files.keys() - listed,
        "altered": {name for name in listed if sha256(folder / name) != manifest.files[name]},
    }
    found = [f"{fault}: {', '.join(sorted(names))}" for fault, names in faults.items() if names]
    return Check("files", not found, "; ".join(found) or f"{len(manifest.files)} files, as their sha256 says")


def _samples(path: Path) -> tuple[Tensor, Tensor]:
    """Inputs [n, channels, height, width] or [n, 1 + state], and logits [n, classes]. safetensors checks its header
    against the file's size, so nothing larger than the file is allocated.
    """
    try:
        tensors = safetensors.torch.load(read_regular(path, _MOST_SAMPLE_BYTES))
        inputs, logits = tensors["inputs"], tensors["logits"]
    except (safetensors.SafetensorError, KeyError) as error:
        raise BadInput(f"{path} holds no samples: {error}", "export the network again") from error
    sound = all(t.dtype == torch.float32 and bool(t.isfinite().all()) for t in (inputs, logits))
    sound &= inputs.dim() in (2, 4) and logits.dim() == 2 and 0 < len(inputs) == len(logits)
    if not sound or (inputs.dim() == 2 and not 1 < inputs.shape[1] <= logits.shape[1]):
        raise BadInput(f"{path} holds no samples: it needs float32 inputs [n, c, h, w] or [n, 1 + state], and logits")
    return inputs, logits


def _structure(models: dict[str, bytes], samples: tuple[Tensor, Tensor]) -> Check:
    shape = tuple(samples[0].shape[1:])
    faults = [f"{name} {fault}" for name, model in models.items() if (fault := structure.fault(model, shape))]
    return Check("structure", not faults, "; ".join(faults) or f"{', '.join(models)}: passes ONNX's full check")


def _parity(models: dict[str, bytes], samples: tuple[Tensor, Tensor], deployed: str, target: Target) -> Check:
    """The deployed file on the target; others, which it may not be able to run, on this machine's CPU."""
    here, (inputs, logits) = Target(name="here", runtime="onnxruntime"), samples
    found = []
    try:
        for name, model in models.items():
            runtime = open_runtime(target if name == deployed else here)
            parity = compare(exporter_of(name), runtime, model, inputs, logits)
            require_parity(parity, exporter_of(name), name)
            found.append(f"{name} {parity.difference:.1e} ({100 * parity.kept:.1f} % of the answers kept)")
    except (BadInput, VerificationFailed) as error:
        return Check("parity", False, error.what)
    return Check("parity", True, f"largest difference of a logit over {len(inputs)} samples: {', '.join(found)}")


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
