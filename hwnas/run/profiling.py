"""The `profile` and `targets` verbs: profiling without a run directory."""

from pathlib import Path
from typing import Any, NamedTuple

from hwnas.core.config import validate
from hwnas.core.errors import Unavailable
from hwnas.core.plugins import load
from hwnas.core.target import load_target, target_names
from hwnas.devices import open_runtime
from hwnas.latency.model import LatencyModel, space_key
from hwnas.latency.profiler import Profiler
from hwnas.run.config import RunConfig
from hwnas.spaces import Space
from hwnas.training.compute import Device
from hwnas.training.data import open_data


class Outcome(NamedTuple):
    text: str
    facts: dict[str, Any]


def profile_target(config: RunConfig, fresh: bool, dry_run: bool) -> Outcome:
    """Profile (or only plan, with `dry_run`) the configured space on the configured target."""
    Device(config.compute)
    profiler = Profiler(config.target, settings=config.profile)
    space = _space(config)
    if dry_run:
        plan = profiler.plan(space, profiler._empty() if fresh else profiler.table())
        text = (
            f"{len(plan.missing)} operators and {plan.networks} whole networks to time, "
            f"at least {plan.seconds:.0f} s, into {profiler.path}"
        )
        return Outcome(
            text, {"operators": [str(s) for s in plan.missing], "networks": plan.networks, "seconds": plan.seconds}
        )
    table = profiler.profile(space, fresh=fresh)
    error = table.calibration[space_key(space)].error
    model = LatencyModel(space, table)
    unstable = sum(not entry.stable for entry in table.entries.values())
    text = (
        f"{profiler.path}: {len(table.entries)} operators ({unstable} unstable); model {model.fit.form}, mean error "
        f"{100 * error.mean:.1f} % on {error.networks} held-out ones, noise floor {100 * error.noise_floor:.1f} %; "
        f"reference {model.predict(space.reference()):.4g} ms"
    )
    facts = {"table": str(profiler.path), "operators": len(table.entries), "unstable": unstable}
    return Outcome(text, facts | {"error": error.model_dump(mode="json")})


def _space(config: RunConfig) -> Space:
    plugin = load("spaces", config.space.name)
    settings = validate(plugin.Settings, config.space.own(), "space")
    data = open_data(config.data.name, config.data.own(), config.space.own().get("resolution", 32), config.seed)
    return plugin(settings, channels=data.channels, classes=data.classes)


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
