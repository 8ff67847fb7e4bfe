"""Settings: pydantic models that refuse what they do not know, with messages a user can act on."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hwnas.core.errors import BadInput


class Settings(BaseModel):
    """Base of every configuration section. Immutable; unknown keys and NaN are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoSettings(Settings):
    """Of a plug-in that has nothing to set."""


class PluginSettings(Settings):
    """A plug-in's name with its own settings beside it, e.g. `{name: mobile, resolution: 32}`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    def own(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


S = TypeVar("S", bound=BaseModel)


def validate(model: type[S], values: Any, where: str) -> S:
    """Raises BadInput naming the first wrong key, with the near match."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BadInput(*_explain(model, error, where)) from error


def _explain(model: type[BaseModel], error: ValidationError, where: str) -> tuple[str, str]:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    mend = ""
    if first["type"] == "extra_forbidden":
        known = _known(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
        mend = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}" if known else ""
        return f"{where}: there is no setting '{key}'", mend
    return f"{where}: {key or 'value'}: {first['msg']} (got {str(first['input'])[:80]!r})", mend


def _known(model: type[BaseModel], sections: tuple[int | str, ...]) -> list[str]:
    """The settings of the section at this path; none where the path leads through a list or a mapping."""
    for section in sections:
        field = model.model_fields.get(str(section))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file. Raises BadInput when it is missing, torn or not a mapping."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not valid YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} must hold a mapping, not {type(content).__name__}")
    return content


def assign(values: dict[str, Any], assignment: str) -> None:
    """Apply one `--set a.b=v` to nested values; v is read as YAML. Raises BadInput when it has no '='."""
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise BadInput(f"--set {assignment} is not an assignment", "write --set section.key=value")
    *sections, key = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise BadInput(f"--set {assignment}: '{section}' is not a section")
    try:
        values[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"--set {assignment}: the value is not valid YAML") from error
