"""Everything a run is decided by. Two runs with equal configuration (and table) are the same run."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from hwnas.core.budget import parse_budget
from hwnas.core.config import PluginSettings, Settings, assign, read_yaml, validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.core.target import Target, load_target
from hwnas.latency.profiler import ProfileSettings
from hwnas.latency.published import PublishedSettings
from hwnas.search.bounds import Bounds
from hwnas.training.settings import Compute, Recipe
from hwnas.workers import check
from hwnas.workers.settings import Ray, Workers


class SearchRecipe(Recipe):
    """Shared weights see each option rarely, so the search takes small batches: many steps."""

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=0.05, gt=0)


class TrainingRecipe(Recipe):
    """`start`: of the weights. `teacher`: what distils its answers into every network compared (largest: the space's
    network of the most multiply-accumulates; reference: its hand-made one)."""

    epochs: int = Field(default=20, ge=1)
    start: Literal["scratch", "supernet"] = "scratch"
    """The supernet's weights want a lower learning_rate than fresh ones."""
    teacher: Literal["largest", "reference"] | None = None
    temperature: float = Field(default=4.0, gt=0)
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """Of the soft part of the loss. Both numbers are ours; the paper lets the hard part weigh less."""


class RoundingRecipe(Recipe):
    """Of quantisation-aware fine-tuning: for targets in int8, when rounding costs more than `when_lost` of accuracy."""

    epochs: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=0.005, gt=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    when_lost: float = Field(default=0.01, ge=0, le=1)
    """A fraction, on the search split; 1: never."""


class AlsoOn(Settings):
    """Another target that the network must fit."""

    target: Target
    budget: str = "60%"


class RunConfig(Settings):
    target: Target
    budget: str = "60%"
    also_on: tuple[AlsoOn, ...] = ()
    """Every budget binds; what is said of one target alone is said of `target`."""
    bounds: Bounds = Bounds()
    seed: int = Field(default=0, ge=0)
    space: PluginSettings = PluginSettings(name="mobile")
    data: PluginSettings = PluginSettings(name="digits")
    strategy: PluginSettings = PluginSettings(name="proxyless")
    estimator: PluginSettings | None = None
    """None: the strategy's own."""
    search: SearchRecipe = SearchRecipe()
    training: TrainingRecipe = TrainingRecipe()
    rounding: RoundingRecipe = RoundingRecipe()
    compute: Compute = Compute()
    workers: Workers = Workers()
    ray: Ray = Ray()
    profile: ProfileSettings = ProfileSettings()
    latency: PublishedSettings | None = None
    """Published latencies of whole networks in place of the target's table; nothing is then measured."""
    exporters: tuple[str, ...] = ("onnx",)
    tensorboard: bool = False
    """Also write the journal's numbers as TensorBoard events, into the run directory."""
    baseline: bool = False
    """Also run random search with the same effort, and report it beside the winner."""
    custom: str = ""
    """Names the user's own objects (data, space, loss) given through Python, which no file can hold."""

    def digest(self) -> str:
        """Of what decides the run: not of where it is done."""
        decides = self.model_dump(mode="json", exclude={"workers", "ray"})
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def each(self) -> "tuple[RunConfig, ...]":
        """This run as seen from each of its targets, `target` first: there, it has no other."""
        targets = (AlsoOn(target=self.target, budget=self.budget), *self.also_on)
        return tuple(self.model_copy(update={**dict(there), "also_on": ()}) for there in targets)

    def with_workers(self, count: int) -> "RunConfig":
        return self.model_copy(update={"workers": self.workers.model_copy(update={"count": count})})

    def default_directory(self) -> Path:
        targets = "+".join(each.target.name for each in self.each())
        name = f"{self.space.name}-{targets}-{self.strategy.name}-{self.digest()[:8]}"
        return Path("runs") / name.replace("/", "_")

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


_PLUGINS = ("space", "data", "strategy", "estimator")
DEFAULTS = {"target": "cpu", "space": "mobile", "data": "digits", "strategy": "proxyless"}


def resolve(flags: dict[str, Any], file: Path | None = None, assignments: tuple[str, ...] = ()) -> RunConfig:
    """File, then flags, then `--set`; plug-in settings are filled in with their defaults.

    Raises BadInput for anything unknown or impossible, before any work.
    """
    return resolve_values(read_yaml(file) if file else {}, flags, assignments)


def resolve_values(values: dict[str, Any], flags: dict[str, Any], assignments: tuple[str, ...] = ()) -> RunConfig:
    """As `resolve`, of a file that was read already."""
    values = _expanded(values)
    _merge(values, flags)
    values = _expanded(DEFAULTS | values)
    for assignment in assignments:
        assign(values, assignment)
    values = _expanded(values)
    config = validate(RunConfig, values, "configuration")
    if suited := load("datasets", config.data.name).recipe:
        given = {section: own | values.get(section, {}) for section, own in suited.items()}
        config = validate(RunConfig, values | given, "configuration")
    _check_targets(config)
    _check_start(config)
    check(config.workers, config.ray)
    full = {
        "space": _filled("spaces", config.space, {}),
        "strategy": _filled("strategies", config.strategy, {}),
        "data": _filled("datasets", config.data, {"limit": None, "search_fraction": 0.25}),
    }
    if config.estimator:
        full["estimator"] = _filled("estimators", config.estimator, {})
    for name in config.exporters:
        load("exporters", name)
    return config.model_copy(update=full)


def overrides(**flags: Any) -> dict[str, Any]:
    """Flags of the command line as `resolve` takes them; those that are None were not given."""
    given = {key: value for key, value in flags.items() if value not in (None, [])}
    values: dict[str, Any] = {k: given[k] for k in ("target", "budget", "seed") if k in given}
    if isinstance(values.get("target"), list):
        values |= on_several(values["target"], values.get("budget"))
    for section in ("space", "strategy", "data"):
        if section in given:
            values[section] = {"name": given[section]}
    if "workers" in given:
        values["workers"] = {"count": given["workers"]}
    if "data_dir" in given:
        values.setdefault("data", {})["dir"] = str(given["data_dir"])
    return values


def on_several(targets: list[str], budget: str | None) -> dict[str, Any]:
    """`--target` once or more with its `--budget`: one for all, or `a=3ms,b=60%`. Raises BadInput for a target without
    a budget, and for a budget without a target."""
    if budget is None or "=" not in budget:
        budgets = dict.fromkeys(targets, budget)
    else:
        pairs = (part.partition("=") for part in budget.split(","))
        budgets = {name.strip(): text.strip() for name, _, text in pairs}
        odd = budgets.keys() ^ set(targets)
        if odd:
            form = ",".join(f"{name}=12ms" for name in targets)
            raise BadInput(f"--budget {budget} and the targets differ: {', '.join(sorted(odd))}", f"--budget {form}")
    sections = [{"target": name} | ({"budget": budgets[name]} if budgets[name] else {}) for name in targets]
    return sections[0] | {"also_on": sections[1:]}


def _check_targets(config: RunConfig) -> None:
    for each in config.each():
        parse_budget(each.budget)
    names = [each.target.name for each in config.each()]
    if len(set(names)) < len(names):
        raise BadInput(f"a target is named twice: {', '.join(names)}", "name each --target once")
    if config.also_on and config.latency is not None:
        raise BadInput("published latencies are of one device", "leave out also_on, or latency")


def _check_start(config: RunConfig) -> None:
    """There will be a supernet to start from. Relaxations train one; a proposer's estimator may."""
    proposer = getattr(load("strategies", config.strategy.name), "estimator", None)
    judge = config.estimator.name if config.estimator else proposer
    if config.training.start == "supernet" and proposer is not None and judge != "shared-weights":
        raise BadInput(
            f"training.start is supernet, but strategy {config.strategy.name} with estimator {judge} trains none",
            "--set training.start=scratch, or --set estimator=shared-weights",
        )


def _filled(group: str, plugin: PluginSettings, shared: dict[str, Any]) -> PluginSettings:
    """The section with every default written out. `shared`: keys that belong to all plug-ins of the group."""
    own = plugin.own()
    common = {key: own.pop(key, default) for key, default in shared.items()}
    settings = validate(load(group, plugin.name).Settings, own, group)
    return PluginSettings.model_validate({"name": plugin.name} | settings.model_dump(mode="json") | common)


def _expanded(values: dict[str, Any]) -> dict[str, Any]:
    """A plug-in or a target may be given by its name alone."""
    expanded = dict(values)
    for section, value in values.items():
        if section in _PLUGINS and isinstance(value, str):
            expanded[section] = {"name": value}
        elif section in _PLUGINS and isinstance(value, dict) and section in DEFAULTS:
            expanded[section] = {"name": DEFAULTS[section]} | value
        elif section == "target" and isinstance(value, str):
            expanded[section] = load_target(value).model_dump()
        elif section == "also_on" and isinstance(value, list | tuple):
            expanded[section] = [_expanded(there) if isinstance(there, dict) else there for there in value]
    return expanded


def _merge(values: dict[str, Any], flags: dict[str, Any]) -> None:
    for key, value in flags.items():
        if isinstance(value, dict):
            if not isinstance(values.setdefault(key, {}), dict):
                raise BadInput(f"configuration: '{key}' must be a name or a section, not {values[key]!r}")
            _merge(values[key], value)
        else:
            values[key] = value
