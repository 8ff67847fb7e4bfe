"""A calibration as a table: a row an estimator, the truth first, and advice by time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hwnas.calibrate.advice import Advice, advice
from hwnas.calibrate.agreement import Agreement
from hwnas.calibrate.run import Answers, Calibrated


@dataclass(frozen=True)
class Row:
    """`share`: of a full training, in seconds. `agreement`: None for the truth itself."""

    label: str
    lessons: int
    setup_seconds: float
    seconds: float
    share: float
    epochs: float
    agreement: Agreement | None


def rows(calibrated: Calibrated) -> list[Row]:
    """The truth, then the cheapest first."""
    truth = _row(calibrated, calibrated.truth)
    others = sorted((_row(calibrated, answers) for answers in calibrated.estimators), key=lambda row: row.seconds)
    return [truth, *others]


def _row(calibrated: Calibrated, answers: Answers) -> Row:
    return Row(
        label=answers.plan.label,
        lessons=answers.lessons,
        setup_seconds=answers.setup_seconds,
        seconds=answers.seconds_each,
        share=answers.seconds_each / calibrated.truth.seconds_each,
        epochs=answers.epochs_each,
        agreement=None if answers is calibrated.truth else calibrated.agreement(answers),
    )


def facts(calibrated: Calibrated, hours: Sequence[float]) -> dict[str, Any]:
    """What `calibrate --json` prints."""
    return {
        "networks": [list(arch) for arch in calibrated.archs],
        "truth": calibrated.truth.accuracies,
        "estimators": [asdict(row) for row in rows(calibrated)],
        "advice": [asdict(advice(calibrated, h)) for h in hours],
        "refused": calibrated.refused,
        "calibrate_dir": str(calibrated.path),
    }


def columns(found: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """(heading, one text a row)."""
    known = [row.agreement for row in found]
    every = {
        "s a network": [f"{row.seconds:.3g}" for row in found],
        "of full": [f"{100 * row.share:.3g} %" for row in found],
        "epochs": [f"{row.epochs:.3g}" for row in found],
        "setup s": [f"{row.setup_seconds:.3g}" for row in found],
        "lessons": [str(row.lessons or "") for row in found],
        "Kendall τ (90 %)": [f"{a.tau:.2f} ({a.tau_low:.2f} to {a.tau_high:.2f})" if a else "" for a in known],
        "Spearman": [f"{a.spearman:.2f}" if a else "" for a in known],
        "top 10 %": [f"{100 * a.top:.0f} %" if a else "" for a in known],
        "held": [f"{100 * a.held:.0f} %" if a and a.held is not None else "" for a in known],
    }
    return [("", [row.label for row in found]), *every.items()]


def advised(found: Advice) -> str:
    if found.estimator is None:
        return f"{found.hours:g} h: too short to judge two networks"
    return f"{found.hours:g} h: {found.estimator} ({found.networks} networks)"


def text(calibrated: Calibrated, hours: Sequence[float]) -> str:
    cells = [[heading, *texts] for heading, texts in columns(rows(calibrated))]
    widths = [max(map(len, column)) for column in cells]
    lines = [f"{len(calibrated.archs)} networks of {calibrated.config.space.name} on {calibrated.config.data.name}"]
    for name, *numbers in zip(*cells, strict=True):
        aligned = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join((name.ljust(widths[0]), *aligned)).rstrip())
    lines += [f"does not serve here: {label}: {why}" for label, why in calibrated.refused.items()]
    lines.append("for a random search of")
    lines += [f"  {advised(advice(calibrated, h))}" for h in hours]
    lines.append(
        "lessons: networks trained fully to learn from, left out of the correlations; held: its own 90 % intervals"
    )
    return "\n".join(lines)
