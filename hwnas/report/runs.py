"""The list of runs, and one of them, as text."""

import shlex
from pathlib import Path

from hwnas.core.journal import Record
from hwnas.run.failure import failure_of
from hwnas.run.listing import Listed, failed_trials, journal_of

_MOST_LOG_LINES = 20


def runs_table(runs: list[Listed]) -> str:
    """One line a run, and below it what went wrong."""
    heads = ("state", "stage", "done", "strategy", "target", "budget", "seed", "accuracy", "ms", "changed", "run")
    rows = [heads, *(_cells(run) for run in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for number, run in enumerate(runs):
        if run.trouble:
            lines[number + 1] += f"\n  {run.trouble}"
    return "\n".join(lines)


def _cells(run: Listed) -> tuple[str, ...]:
    return (
        run.state,
        run.stage,
        str(run.done) if run.of is None else f"{run.done}/{run.of}",
        run.strategy or "-",
        run.target or "-",
        run.budget or "-",
        "-" if run.seed is None else str(run.seed),
        "-" if run.accuracy is None else f"{100 * run.accuracy:.2f}%",
        "-" if run.measured_ms is None else f"{run.measured_ms:.4f}",
        (run.changed_at or "-")[:16].replace("T", " "),
        run.path,
    )


def one_run(run: Listed) -> str:
    """All that is known of a run: where it stands, what failed in it, and how it goes on."""
    lines = [runs_table([run])]
    path = Path(run.path)
    if run.state == "failed" and (failure := failure_of(path)) and failure.mend:
        lines.append(f"  mend: {failure.mend}")
    if run.failed_trials:
        lines.append(f"{run.failed_trials} failed trials:")
        lines += [line for record in failed_trials(journal_of(path)) for line in _failed(path, record)]
    if run.state in ("interrupted", "failed"):
        lines.append(f"goes on with: hwnas run --out {shlex.quote(run.path)}")
    return "\n".join(lines)


def _failed(path: Path, record: Record) -> list[str]:
    lines = [f"  {record['arch']}: {record['failed']}"]
    log = path / str(record.get("log", ""))
    if log.is_file() and log.resolve().is_relative_to(path.resolve()):
        said = log.read_text(errors="replace").splitlines()[-_MOST_LOG_LINES:]
        lines += [f"    log {log}, its end:", *(f"    | {line}" for line in said)]
    return lines
