"""An imported table as a target of its own: its table and its profile, side by side in the working folder."""

from pathlib import Path
from typing import NamedTuple

import yaml

from hwnas.core.errors import BadInput
from hwnas.core.files import write_atomic
from hwnas.core.target import load_target, target_names
from hwnas.latency.table import LatencyTable


class Installed(NamedTuple):
    table: Path
    profile: Path


def install(table: LatencyTable) -> Installed:
    """Replaces an imported table of the same name. Raises BadInput when the name is another target's, StorageFailed."""
    target = table.target
    path = table_path(target.name)
    other = target.name in target_names() and load_target(target.name).device != "imported"
    if other or (path.exists() and target.name not in target_names()):
        raise BadInput(f"there is a target or a table '{target.name}' already", "choose another --as")
    profile = Path("profiles") / f"{target.name}.yaml"
    table.save(path)
    write_atomic(profile, yaml.safe_dump(target.model_dump(mode="json", exclude_defaults=True), sort_keys=False))
    return Installed(path, profile)


def table_path(target: str) -> Path:
    """Of a target's table, or the file itself where its path is given."""
    return Path(target) if target.endswith(".json") else Path("latency_tables") / f"{target}.json"
