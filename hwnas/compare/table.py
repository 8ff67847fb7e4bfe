"""The outcomes of a comparison as a table: a row a budget and strategy, over its seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from hwnas.compare.outcome import REFERENCES, Outcome
from hwnas.compare.paired import Mean, mean_of, paired
from hwnas.compare.run import Compared


@dataclass(frozen=True)
class Row:
    """Accuracies, regrets and differences in points; the rest are means over the seeds, `over_budget` a sum.

    `against`: rival → this one's accuracy minus the rival's, paired by seed.
    """

    strategy: str
    budget: str
    seeds: int
    accuracy: Mean | None
    regret: Mean | None
    against: dict[str, Mean]
    over_budget: int
    latency_ms: float
    queries: float
    epochs: float | None
    simulated_seconds: float | None
    search_seconds: float | None
    peak_mib: float | None


@dataclass(frozen=True)
class Section:
    """One budget. `rows`: the strategies in the order given, then the references; the first row is the baseline."""

    budget: str
    budget_ms: float
    rows: list[Row]

    @property
    def baseline(self) -> str:
        return self.rows[0].strategy


def sections(compared: Compared) -> list[Section]:
    found = []
    for budget in compared.matrix.budgets:
        mine = [outcome for outcome in compared.outcomes if outcome.budget == budget]
        names = [n for n in (*compared.matrix.strategies, *REFERENCES) if any(o.strategy == n for o in mine)]
        if mine:
            by_name = {name: [o for o in mine if o.strategy == name] for name in names}
            rows = [_row(name, by_name) for name in names]
            found.append(Section(budget, fmean(o.budget_ms for o in mine), rows))
    return found


def _row(name: str, by_name: dict[str, list[Outcome]]) -> Row:
    mine = by_name[name]
    points = {other: {o.seed: _points(o.accuracy) for o in outcomes} for other, outcomes in by_name.items()}
    differences = {other: paired(points[name], theirs) for other, theirs in points.items() if other != name}
    return Row(
        strategy=name,
        budget=mine[0].budget,
        seeds=len(mine),
        accuracy=mean_of(list(points[name].values())),
        regret=mean_of([_points(o.regret) for o in mine]),
        against={other: found for other, found in differences.items() if found is not None},
        over_budget=sum(o.over_budget for o in mine),
        latency_ms=fmean(o.latency_ms for o in mine),
        queries=fmean(o.queries for o in mine),
        epochs=_mean([o.epochs for o in mine]),
        simulated_seconds=_mean([o.simulated_seconds for o in mine]),
        search_seconds=_mean([o.search_seconds for o in mine]),
        peak_mib=_mean([o.peak_mib for o in mine]),
    )


def _points(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def facts(compared: Compared) -> dict[str, Any]:
    """What `compare --json` prints: every outcome, and what the table says of them."""
    rows = [asdict(row) | {"peak_mib_measured": row.peak_mib} for section in sections(compared) for row in section.rows]
    for row in rows:
        del row["peak_mib"]
    return {
        "rows": rows,
        "outcomes": [outcome.facts() for outcome in compared.outcomes],
        "failed": compared.failed,
        "compare_dir": str(compared.matrix.path),
    }


def columns(section: Section) -> list[tuple[str, list[str]]]:
    """(heading, one text a row), without those that say nothing here."""
    rows, first = section.rows, section.baseline
    every = {
        "seeds": [str(row.seeds) for row in rows],
        "accuracy %": [row.accuracy.text(2) if row.accuracy else "" for row in rows],
        f"− {first}": [row.against[first].text(2, "+") if first in row.against else "" for row in rows],
        "regret": [row.regret.text(3) if row.regret else "" for row in rows],
        "over budget": [str(row.over_budget) for row in rows],
        "latency ms": [f"{row.latency_ms:.4g}" for row in rows],
        "queries": [_number(row.queries) for row in rows],
        "epochs": [_number(row.epochs) for row in rows],
        "simulated s": [_number(row.simulated_seconds) for row in rows],
        "search s": [_number(row.search_seconds) for row in rows],
        "peak MiB": [_number(row.peak_mib) for row in rows],
    }
    return [("", [row.strategy for row in rows]), *((h, texts) for h, texts in every.items() if any(texts))]


def _number(value: float | None) -> str:
    """Nothing for nothing; enough digits for what is small."""
    if not value:
        return ""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def text(compared: Compared) -> str:
    """Every budget's table, the baseline first."""
    parts = []
    for section in sections(compared):
        seeds = max(row.seeds for row in section.rows)
        parts.append(f"budget {section.budget} = {section.budget_ms:.4g} ms, {seeds} seed{'s' if seeds != 1 else ''}")
        cells = [[heading, *texts] for heading, texts in columns(section)]
        widths = [max(map(len, column)) for column in cells]
        for name, *numbers in zip(*cells, strict=True):
            aligned = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
            parts.append("  ".join((name.ljust(widths[0]), *aligned)).rstrip())
        parts.append("")
    parts += [f"no result: {name}: {why}" for name, why in compared.failed.items()]
    parts.append("in brackets: 90 % intervals over the seeds (Student's t); differences are paired by seed")
    return "\n".join(parts)
