"""The `profile` and `targets` verbs: profiling without a run directory."""

from pathlib import Path
from typing import Any, NamedTuple

from hwnas.core.errors import Unavailable
from hwnas.core.target import load_target, target_names
from hwnas.devices import open_runtime
from hwnas.latency.kit import pack
from hwnas.latency.kit_results import KitProfiler
from hwnas.latency.model import LatencyModel, space_key
from hwnas.latency.profiler import Profiler
from hwnas.latency.table import LatencyTable
from hwnas.run.config import RunConfig
from hwnas.run.problem import data_of, space_of
from hwnas.spaces import Space
from hwnas.training.compute import Device


class Outcome(NamedTuple):
    text: str
    facts: dict[str, Any]


def profile_target(config: RunConfig, fresh: bool, dry_run: bool, folder: Path = Path("latency_tables")) -> Outcome:
    """Profile (or only plan, with `dry_run`) the configured space on the configured target."""
    Device(config.compute)
    profiler = Profiler(config.target, folder, config.profile)
    space = _space(config)
    if dry_run:
        plan = profiler.plan(space, profiler._empty() if fresh else profiler.table())
        predicted = len(plan.missing) - plan.timed
        text = (
            f"{plan.timed} operators and {plan.networks} whole networks to time, "
            f"{f'{predicted} operators to predict, ' if predicted else ''}"
            f"at least {plan.seconds:.0f} s, into {profiler.path}"
        )
        return Outcome(
            text, {"operators": [str(s) for s in plan.missing], "networks": plan.networks, "seconds": plan.seconds}
        )
    return _told(profiler.path, space, profiler.profile(space, fresh=fresh))


def pack_kit(config: RunConfig, path: Path) -> Outcome:
    """Write the kit that profiles the configured space on a device that is not connected."""
    count = pack(_space(config), config.target, config.profile, path)
    text = (
        f"{path}: {count} graphs. Unpack it on the device and run `python worker.py`; then, here: --import results.json"
    )
    return Outcome(text, {"kit": str(path), "graphs": count})


def import_kit(config: RunConfig, results: Path, fresh: bool) -> Outcome:
    """The target's table from a kit's results."""
    space = _space(config)
    profiler = KitProfiler(results, space, config.target, config.profile)
    return _told(profiler.path, space, profiler.profile(space, fresh=fresh))


def _told(path: Path, space: Space, table: LatencyTable) -> Outcome:
    error = table.calibration[space_key(space)].error
    model = LatencyModel(space, table)
    predicted = len(table.predicted(space))
    unstable = sum(entry.unstable for entry in table.entries.values())
    text = (
        f"{path}: {len(table.entries)} operators ({unstable} unstable, {predicted} predicted); "
        f"model {model.calibration.form}, mean error "
        f"{100 * error.mean:.1f} % on {error.networks} held-out ones, noise floor {100 * error.noise_floor:.1f} %; "
        f"reference {model.predict(space.reference()):.4g} ms"
    )
    facts = {"table": str(path), "operators": len(table.entries), "unstable": unstable, "predicted": predicted}
    return Outcome(text, facts | {"error": error.model_dump(mode="json")})


def _space(config: RunConfig) -> Space:
    data = data_of(config)
    return space_of(config, data.channels, data.classes)


def known_targets() -> list[dict[str, Any]]:
    """What `hwnas targets --json` prints."""
    found = []
    for name in target_names():
        target, needs = load_target(name), None
        try:
            open_runtime(target)
        except Unavailable as error:
            needs = error.mend or error.what
        facts = {"name": name, "runtime": target.runtime, "precision": target.precision}
        table = Path("latency_tables") / f"{name}.json"
        found.append(facts | {"available": needs is None, "needs": needs, "table": table.exists()})
    return found
