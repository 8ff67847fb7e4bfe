"""The page of a comparison: its tables, every seed's outcome, and who is better by how much."""

import shlex
import sys
from pathlib import Path
from typing import Any

from hwnas.compare.paired import Mean
from hwnas.compare.run import Compared
from hwnas.compare.table import Section, columns, sections
from hwnas.core.files import write_atomic
from hwnas.report import comparison_charts as charts
from hwnas.report.template import fill


def write_comparison(compared: Compared) -> Path:
    """`report.html` of the comparison's folder."""
    page = compared.matrix.path / "report.html"
    write_atomic(page, render(compared))
    return page


def render(compared: Compared) -> str:
    found = sections(compared)
    parts = [_part(compared, section, number) for number, section in enumerate(found)]
    return fill(
        "comparison.html",
        {"points": _points},
        matrix=compared.matrix,
        config=compared.matrix.config,
        parts=parts,
        charts={key: chart for part in parts for key, chart in part["charts"].items()},
        failed=compared.failed,
        measure=measure(compared),
        has_truth=compared.matrix.cells[0].has_truth,
        origin=_latency_origin(compared),
        command=shlex.join(["hwnas", *sys.argv[1:]]),
    )


def measure(compared: Compared) -> str:
    """What the accuracies are."""
    estimator = compared.matrix.config.estimator
    if estimator is None or not compared.matrix.cells[0].has_truth:
        return "accuracy on the test split"
    own = estimator.own()
    return f"published accuracy, {own.get('truth') or own.get('column')}"


def _part(compared: Compared, section: Section, number: int) -> dict[str, Any]:
    mine = [outcome for outcome in compared.outcomes if outcome.budget == section.budget]
    found = {f"accuracy{number}": charts.accuracy_chart(section, mine)}
    if curves := charts.progress_chart(compared, section, mine):
        found[f"progress{number}"] = curves
    table = columns(section)
    return {
        "section": section,
        "headings": [heading for heading, _ in table],
        "lines": list(zip(*(texts for _, texts in table), strict=True)),
        "names": [row.strategy for row in section.rows],
        "charts": found,
    }


def _latency_origin(compared: Compared) -> str:
    published = compared.matrix.config.latency
    if published is not None:
        return f"published latencies, {published.device or published.path.name}"
    return "latencies predicted from the target's table" if compared.matrix.cells[0].has_truth else "measured latencies"


def _points(difference: Mean | None) -> str:
    return "" if difference is None else difference.text(2, "+")
