"""The page of a calibration: its table, the advice, and every estimator's scatter against the truth."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hwnas.calibrate.advice import advice
from hwnas.calibrate.run import Calibrated
from hwnas.calibrate.table import advised, columns, rows
from hwnas.core.files import write_atomic
from hwnas.report import calibration_charts as charts
from hwnas.report.template import fill


def write_calibration(calibrated: Calibrated, hours: Sequence[float]) -> Path:
    """`report.html` of the calibration's folder."""
    page = calibrated.path / "report.html"
    write_atomic(page, render(calibrated, hours))
    return page


def render(calibrated: Calibrated, hours: Sequence[float]) -> str:
    table = rows(calibrated)
    by_label = {answers.plan.label: answers for answers in calibrated.estimators}
    scatters = {
        f"scatter{number}": charts.scatter(calibrated, by_label[row.label])
        for number, row in enumerate(row for row in table if row.agreement)
    }
    found = columns(table)
    return fill(
        "calibration.html",
        {},
        config=calibrated.config,
        networks=len(calibrated.archs),
        headings=[heading for heading, _ in found],
        lines=list(zip(*(texts for _, texts in found), strict=True)),
        advice=[advised(advice(calibrated, h)) for h in hours],
        refused=calibrated.refused,
        scatters=list(scatters),
        charts={"cost": charts.cost(table)} | scatters,
        command=shlex.join(["hwnas", *sys.argv[1:]]),
    )
