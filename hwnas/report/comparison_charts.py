"""The charts of a comparison as plotly figures (plain dictionaries)."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from hwnas.compare.outcome import Outcome
from hwnas.compare.run import Compared
from hwnas.compare.table import Section
from hwnas.report.plot import CLEAR, GREY, WINNER, Figure, axis, layout, padded

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, for lines that must be told apart."""


def accuracy_chart(section: Section, outcomes: Sequence[Outcome]) -> Figure:
    """A line a strategy: every seed's accuracy (%), the mean and its 90 % interval."""
    names = [row.strategy for row in section.rows]
    judged = [outcome for outcome in outcomes if outcome.accuracy is not None]
    seeds = {
        "type": "scatter",
        "mode": "markers",
        "name": "each seed",
        "x": [100 * (o.accuracy or 0.0) for o in judged],
        "y": [escape(o.strategy) for o in judged],
        "text": [f"seed {o.seed}, {o.latency_ms:.4g} ms" for o in judged],
        "marker": {"color": CLEAR, "size": 8, "line": {"color": GREY, "width": 1.2}},
        "hovertemplate": "%{y}: %{x:.2f} %<br>%{text}<extra></extra>",
    }
    known = [(row.strategy, row.accuracy) for row in section.rows if row.accuracy is not None]
    means = {
        "type": "scatter",
        "mode": "markers",
        "name": "mean and 90 % interval",
        "x": [mean.mean for _, mean in known],
        "y": [escape(name) for name, _ in known],
        "error_x": {
            "type": "data",
            "array": [0 if mean.high is None else mean.high - mean.mean for _, mean in known],
            "color": WINNER,
            "thickness": 2,
            "width": 6,
        },
        "marker": {"color": WINNER, "size": 9, "symbol": "diamond"},
        "hovertemplate": "%{y}: mean %{x:.2f} %<extra></extra>",
    }
    rows = axis("") | {"type": "category", "categoryarray": [escape(n) for n in reversed(names)]}
    page = layout(130 + 36 * len(names), xaxis=axis("accuracy (%)"), yaxis=rows)
    return {"data": [seeds, means], "layout": page}


def progress_chart(compared: Compared, section: Section, outcomes: Sequence[Outcome]) -> Figure | None:
    """The published accuracy (%) of the best so far over the queries, mean over the seeds; None without them."""
    searches = {r.strategy: [o for o in outcomes if o.strategy == r.strategy and o.incumbents] for r in section.rows}
    curves = {name: 100 * np.array(compared.progress(mine)) for name, mine in searches.items() if mine}
    if not curves:
        return None
    # The first few queries are far below; they would press the rest together.
    shown = [y for curve in curves.values() for y in curve[len(curve) // 10 :].tolist()]
    page = layout(xaxis=axis("queries"), yaxis=axis("accuracy of the best so far (%)", padded(shown)))
    lines = [_line(name, curve, SERIES[i % len(SERIES)]) for i, (name, curve) in enumerate(curves.items())]
    return {"data": lines, "layout": page}


def _line(name: str, percents: np.ndarray, color: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name),
        "x": list(range(1, len(percents) + 1)),
        "y": percents.tolist(),
        "line": {"color": color, "width": 2, "shape": "hv"},
        "hovertemplate": f"{escape(name)}<br>%{{x}} queries: %{{y:.2f}} %<extra></extra>",
    }
