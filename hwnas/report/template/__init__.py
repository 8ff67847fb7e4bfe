"""Pages from templates: nothing is fetched, everything from outside is escaped."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

_FOLDER = Path(__file__).parent


def fill(template: str, filters: Mapping[str, Callable[..., str]], **content: Any) -> str:
    """The page as text, with our style sheet and plotly inside it."""
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": True}
    environment.filters |= dict(filters)
    parts = {"css": Markup((_FOLDER / "page.css").read_text()), "plotly": Markup(get_plotlyjs())}
    return environment.get_template(template).render(**content, **parts)
