"""The parts that the charts share: plotly layouts, axes, lines and labels, in one look.

Colours are Okabe and Ito's: safe for the colour-blind.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

Figure = dict[str, Any]

INK, GREY, RULE = "#222222", "#8a8a8a", "#e7e5e0"
WINNER, BUDGET, HELD_OUT = "#0072b2", "#d55e00", "#009e73"
CLEAR = "rgba(0,0,0,0)"
OUTLINE = {"color": "#ffffff", "width": 1.5}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def layout(height: int = 380, **rest: Any) -> Figure:
    return {
        "height": height,
        "font": {"family": FONT, "size": 13, "color": INK},
        "margin": {"l": 58, "r": 12, "t": 62, "b": 46},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": GREY, "font": {"family": FONT, "size": 12, "color": INK}},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "yref": "container", "y": 1, "yanchor": "top", "font": {"size": 12}},
        "shapes": [],
        "annotations": [],
    } | rest


def axis(title: str, span: Sequence[float] | None = None) -> Figure:
    axis: Figure = {
        "title": {"text": title, "font": {"size": 13}, "standoff": 10},
        "gridcolor": RULE,
        "linecolor": GREY,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": GREY,
        "ticklen": 4,
        "automargin": True,
        "fixedrange": True,
    }
    return axis | ({"range": list(span)} if span else {})


def padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.06 * (high - low or high)
    return low - pad, high + pad


def rule(x: float, color: str, dash: str) -> Figure:
    line = {"color": color, "width": 1.5, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line, "layer": "below"}


def note(x: float, text: str, span: Sequence[float]) -> Figure:
    """Above the plot, at a rule; it runs towards the middle of the axis, where there is room."""
    font = {"size": 12, "color": BUDGET}
    side = "left" if x < (span[0] + span[1]) / 2 else "right"
    at = {"x": x, "yref": "paper", "y": 1, "xanchor": side, "yanchor": "bottom"}
    return at | {"text": text, "showarrow": False, "font": font}


def level(y: float, axis: str) -> Figure:
    line = {"color": BUDGET, "width": 1.5, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": axis, "y0": y, "y1": y, "line": line}


def level_note(y: float, text: str, axis: str) -> Figure:
    at = {"xref": "paper", "x": 0, "yref": axis, "y": y, "xanchor": "left", "yanchor": "top"}
    return at | {"text": text, "showarrow": False, "font": {"size": 12, "color": BUDGET}}


def panel_title(text: str, y: float) -> Figure:
    at = {"xref": "paper", "x": 0, "yref": "paper", "y": y, "xanchor": "left", "yanchor": "bottom"}
    return at | {"text": text, "showarrow": False, "font": {"size": 13}, "yshift": 2}


def hover(network: str, per_line: int = 3) -> str:
    """Escaped: plotly reads tags in hover texts."""
    options = escape(network).split(", ")
    return "<br>".join(", ".join(options[i : i + per_line]) for i in range(0, len(options), per_line))
