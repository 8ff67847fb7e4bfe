"""Everything a run is decided by. Two runs with equal configuration (and table) are the same run."""

import hashlib
import json
from pathlib import Path
from typing import Any

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


class SearchRecipe(Recipe):
    """Shared weights see each option rarely, so the search takes small batches: many steps."""

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=0.05, gt=0)


class TrainingRecipe(Recipe):
    epochs: int = Field(default=20, ge=1)


class RunConfig(Settings):
    target: Target
    budget: str = "60%"
    bounds: Bounds = Bounds()
    seed: int = Field(default=0, ge=0)
    space: PluginSettings = PluginSettings(name="mobile")
    data: PluginSettings = PluginSettings(name="digits")
    strategy: PluginSettings = PluginSettings(name="proxyless")
    estimator: PluginSettings | None = None
    """None: the strategy's own."""
    search: SearchRecipe = SearchRecipe()
    training: TrainingRecipe = TrainingRecipe()
    compute: Compute = Compute()
    profile: ProfileSettings = ProfileSettings()
    latency: PublishedSettings | None = None
    """Published latencies of whole networks in place of the target's table; nothing is then measured."""
    exporters: tuple[str, ...] = ("onnx",)
    baseline: bool = False
    """Also run random search with the same effort, and report it beside the winner."""
    custom: str = ""
    """Names the user's own objects (data, space, loss) given through Python, which no file can hold."""

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def default_directory(self) -> Path:
        name = f"{self.space.name}-{self.target.name}-{self.strategy.name}-{self.digest()[:8]}"
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
    parse_budget(config.budget)
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
    given = {key: value for key, value in flags.items() if value is not None}
    values: dict[str, Any] = {k: given[k] for k in ("target", "budget", "seed") if k in given}
    for section in ("space", "strategy", "data"):
        if section in given:
            values[section] = {"name": given[section]}
    if "data_dir" in given:
        values.setdefault("data", {})["dir"] = str(given["data_dir"])
    return values


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
    return expanded


def _merge(values: dict[str, Any], flags: dict[str, Any]) -> None:
    for key, value in flags.items():
        if isinstance(value, dict):
            if not isinstance(values.setdefault(key, {}), dict):
                raise BadInput(f"configuration: '{key}' must be a name or a section, not {values[key]!r}")
            _merge(values[key], value)
        else:
            values[key] = value
