"""The charts of a calibration as plotly figures (plain dictionaries)."""

from collections.abc import Sequence
from html import escape

from hwnas.calibrate.run import Answers, Calibrated
from hwnas.calibrate.table import Row
from hwnas.report.plot import GREY, OUTLINE, WINNER, Figure, axis, hover, layout


def cost(rows: Sequence[Row]) -> Figure:
    """Kendall's τ with its 90 % interval over the seconds a network costs, on a logarithmic axis."""
    known = [(row, row.agreement) for row in rows if row.agreement is not None]
    points = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [row.seconds for row, _ in known],
        "y": [found.tau for _, found in known],
        "text": [escape(row.label) for row, _ in known],
        "textposition": "top center",
        "textfont": {"size": 11, "color": GREY},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [found.tau_high - found.tau for _, found in known],
            "arrayminus": [found.tau - found.tau_low for _, found in known],
            "color": GREY,
            "thickness": 1,
            "width": 3,
        },
        "marker": {"color": WINNER, "size": 9, "line": OUTLINE},
        "hovertemplate": "%{text}<br>%{x:.3g} s, τ %{y:.2f}<extra></extra>",
    }
    x = axis("seconds a network, without setup") | {"type": "log"}
    return {"data": [points], "layout": layout(460, xaxis=x, yaxis=axis("Kendall τ"), showlegend=False)}


def scatter(calibrated: Calibrated, answers: Answers) -> Figure:
    """Estimate against the truth, both in %, without those it learned from; with its own 90 % intervals, if any."""
    judged = range(answers.lessons, len(calibrated.archs))
    space, found = calibrated.space, [100 * answers.accuracies[i] for i in judged]
    spans = [answers.intervals[i] for i in judged]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": found,
        "y": [100 * calibrated.truth.accuracies[i] for i in judged],
        "text": [hover(", ".join(space.describe(calibrated.archs[i]).values())) for i in judged],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [100 * span[1] - x if span else 0 for span, x in zip(spans, found, strict=True)],
            "arrayminus": [x - 100 * span[0] if span else 0 for span, x in zip(spans, found, strict=True)],
            "color": GREY,
            "thickness": 1,
            "width": 0,
        },
        "marker": {"color": WINNER, "size": 8, "line": OUTLINE},
        "hovertemplate": "%{x:.2f}, fully trained %{y:.2f} %<br>%{text}<extra></extra>",
    }
    page = layout(300, xaxis=axis(escape(answers.plan.label)), yaxis=axis("fully trained (%)"), showlegend=False)
    return {"data": [points], "layout": page}
