"""Plug-ins are files. A file's name is the plug-in's name, its class is that name in CamelCase.

Found in our own folders, in the entry points `hwnas.<group>` of installed packages, or at a path
(`--strategy ./mine.py`). A file whose name begins with `_` is not a plug-in.
"""

import difflib
import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from hwnas.core.errors import BadInput, Unavailable

GROUPS = {
    "strategies": "hwnas.search.strategies",
    "spaces": "hwnas.spaces",
    "runtimes": "hwnas.runtimes",
    "estimators": "hwnas.search.estimators",
    "exporters": "hwnas.exporters",
    "datasets": "hwnas.training.datasets",
}


@dataclass(frozen=True)
class Plugin:
    """One line of `hwnas list`. `needs`: what to install when it is not available."""

    name: str
    available: bool
    needs: str | None


def names(group: str) -> list[str]:
    package = importlib.import_module(GROUPS[group])
    ours = [m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    return sorted(ours + [point.name for point in entry_points(group=f"hwnas.{group}")])


def catalogue(group: str) -> list[Plugin]:
    """Every plug-in of the group, also those whose package is missing."""
    found = []
    for name in names(group):
        try:
            load(group, name)
            found.append(Plugin(name, True, None))
        except Unavailable as error:
            found.append(Plugin(name, False, error.mend))
    return found


def load(group: str, name: str) -> type:
    """The plug-in's class.

    Raises BadInput for an unknown name (with the near match), Unavailable when its package is missing.
    """
    if name.endswith(".py"):
        module, stem = _module_at(Path(name)), Path(name).stem
    else:
        stem = name
        if name not in names(group):
            near = difflib.get_close_matches(name, names(group), 1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise BadInput(f"there is no {_singular(group)} '{name}'", f"{hint}known: {', '.join(names(group))}")
        module = _module_named(group, name)
    attribute = "".join(part.capitalize() for part in stem.replace("-", "_").split("_"))
    if not hasattr(module, attribute):
        raise BadInput(f"{module.__file__} has no class {attribute}", "name the class as the file, in CamelCase")
    return getattr(module, attribute)


def _module_named(group: str, name: str) -> ModuleType:
    for point in entry_points(group=f"hwnas.{group}"):
        if point.name == name:
            return importlib.import_module(point.module)
    path = f"{GROUPS[group]}.{name.replace('-', '_')}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hwnas"):
            raise
        raise Unavailable(
            f"{_singular(group)} '{name}' needs the package {error.name}", f"pip install {error.name}"
        ) from error


def _module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hwnas_plugin_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise BadInput(f"there is no plug-in file {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _singular(group: str) -> str:
    return "strategy" if group == "strategies" else group.removesuffix("s")
