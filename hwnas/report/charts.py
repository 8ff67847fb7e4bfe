"""The page's charts as plotly figures (plain dictionaries)."""

from collections.abc import Sequence
from html import escape
from typing import Any

from hwnas.report.plot import (
    BUDGET,
    CLEAR,
    GREY,
    HELD_OUT,
    INK,
    OUTLINE,
    WINNER,
    Figure,
    axis,
    hover,
    layout,
    level,
    level_note,
    note,
    padded,
    panel_title,
    rule,
)
from hwnas.report.points import Compared, Curve, Evaluated, Evaluations, Fidelity, best_so_far


def pareto_chart(found: Evaluations, alone: bool = True) -> Figure:
    """Accuracy on the search split (%) over predicted latency (ms). `alone`: there is no other target, so the front is
    a line; the front across several has members behind it on each."""
    front = _marks("Pareto front" if alone else "Pareto front across targets", found.front, color=WINNER, size=9)
    if alone:
        front |= {"mode": "lines+markers", "line": {"color": WINNER, "width": 2, "shape": "hv"}}
    data = [_marks("evaluated", found.all, color=CLEAR, size=7, line=_THIN), front]
    if found.rivals:
        data.insert(0, _marks("random search", found.rivals, color=GREY, size=7, symbol="x-thin", line=_THIN))
    if found.winner:
        data.append(_marks("winner", [found.winner], color=WINNER, size=15, symbol="diamond", line=OUTLINE))
    marked_ms = [ms for ms in (found.budget_ms, found.limit_ms) if ms is not None]
    span = padded([*(p.predicted_ms for p in (*found.all, *found.rivals)), *marked_ms])
    page = layout(xaxis=axis("predicted latency (ms)", span), yaxis=axis("accuracy on the search split (%)"))
    page["shapes"] = [rule(ms, BUDGET, dash) for ms, dash in zip(marked_ms, ("solid", "dot"), strict=False)]
    if found.budget_ms is not None:
        page["annotations"] = [note(found.budget_ms, f"budget {found.budget_ms:.4g} ms", span)]
    return {"data": data, "layout": page}


def fidelity_chart(found: Fidelity, verb: str) -> Figure:
    """Measured (or estimated, as `verb` says) over predicted latency (ms), with the diagonal and ±5 %."""
    points = [*found.fitted, *found.held_out, *found.own.values()]
    low, high = padded([value for p in points for value in (p.predicted_ms, p.measured_ms)])
    band = {
        "type": "scatter",
        "x": [low, high, high, low],
        "y": [0.95 * low, 0.95 * high, 1.05 * high, 1.05 * low],
        "fill": "toself",
        "fillcolor": "#f0eee8",
        "mode": "lines",
        "line": {"width": 0},
        "name": "±5 %",
        "hoverinfo": "skip",
    }
    diagonal = {
        "type": "scatter",
        "x": [low, high],
        "y": [low, high],
        "mode": "lines",
        "line": {"color": GREY, "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    symbols = {"winner": (WINNER, "diamond"), "reference": (INK, "square"), "random search": (GREY, "triangle-up")}
    data = [
        band,
        diagonal,
        _compared("fitted", verb, found.fitted, color=CLEAR, size=7, line=_THIN),
        _compared("held out", verb, found.held_out, color=HELD_OUT, size=8, line=OUTLINE),
    ]
    for role, point in found.own.items():
        color, symbol = symbols[role]
        data.append(_compared(role, verb, [point], color=color, size=12, symbol=symbol, line=OUTLINE))
    span = [low, high]
    page = layout(460, xaxis=axis("predicted (ms)", span), yaxis=axis(f"{verb} (ms)", span))
    return {"data": data, "layout": page}


_THIN = {"color": GREY, "width": 1.2}
_NAMES = {
    "expected": "E[latency] (ms)",
    "entropy": "entropy (1 = undecided)",
    "parameter_free": "probability of options without parameters",
}


def convergence_chart(curves: Sequence[Curve]) -> Figure:
    """One panel a quantity, over the search's epochs."""
    data, page = [], layout(height=150 * len(curves) + 60, showlegend=False)
    page["margin"]["t"] = 24
    gap = 0.13 if len(curves) > 1 else 0.0
    share = (1 - gap * (len(curves) - 1)) / len(curves)
    for number, curve in enumerate(curves):
        key = "" if number == 0 else str(number + 1)
        top = 1 - number * (share + gap)
        last = number == len(curves) - 1
        data.append(
            {
                "type": "scatter",
                "x": list(range(1, len(curve.values) + 1)),
                "y": curve.values,
                "mode": "lines",
                "line": {"color": WINNER, "width": 2},
                "xaxis": "x",
                "yaxis": f"y{key}",
                "hovertemplate": "epoch %{x}: %{y:.4g}<extra></extra>",
            }
        )
        page[f"yaxis{key}"] = axis("") | {"domain": [max(0.0, top - share), top], "nticks": 4, "rangemode": "tozero"}
        page["annotations"].append(panel_title(escape(_NAMES.get(curve.name, curve.name)), top))
        if curve.limit is not None:
            page["shapes"].append(level(curve.limit, f"y{key}"))
            page["annotations"].append(level_note(curve.limit, f"limit {curve.limit:.4g} ms", f"y{key}"))
        if last:
            page["xaxis"] = axis("epoch of the search") | {"anchor": f"y{key}"}
    return {"data": data, "layout": page}


def progress_chart(found: Evaluations) -> Figure:
    """Best accuracy so far (%) over the trials of an ask/tell search."""
    numbers = list(range(1, len(found.all) + 1))
    dots = _marks("each trial", found.all, color=CLEAR, size=6, line=_THIN) | {"x": numbers}
    dots["hovertemplate"] = "<b>trial %{x}</b><br>%{y:.2f} %<br>%{text}<extra></extra>"
    best = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "x": numbers,
        "y": [100 * value for value in best_so_far([t.accuracy for t in found.all])],
        "line": {"color": WINNER, "width": 2, "shape": "hv"},
        "hoverinfo": "skip",
    }
    page = layout(xaxis=axis("trial"), yaxis=axis("accuracy on the search split (%)"))
    return {"data": [dots, best], "layout": page}


def _marks(name: str, points: Sequence[Evaluated], **marker: Any) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [p.predicted_ms for p in points],
        "y": [100 * p.accuracy for p in points],
        "text": [hover(p.network) for p in points],
        "marker": marker,
        "hovertemplate": f"<b>{name}</b><br>%{{y:.2f}} %, predicted %{{x:.4g}} ms<br>%{{text}}<extra></extra>",
    }


def _compared(name: str, verb: str, points: Sequence[Compared], **marker: Any) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [p.predicted_ms for p in points],
        "y": [p.measured_ms for p in points],
        "text": [f"{100 * (p.predicted_ms / p.measured_ms - 1):+.1f} %<br>{hover(p.network)}" for p in points],
        "marker": marker,
        "hovertemplate": f"<b>{name}</b><br>predicted %{{x:.4g}} ms, {verb} %{{y:.4g}} ms, %{{text}}<extra></extra>",
    }
