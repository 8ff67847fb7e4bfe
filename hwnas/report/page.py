"""One self-contained HTML page a run: nothing is fetched, everything from outside is escaped."""

import shlex
from functools import partial
from math import floor, log10
from pathlib import Path
from typing import Any

from hwnas.core.errors import HwnasError
from hwnas.core.files import write_atomic
from hwnas.report import charts, points
from hwnas.report.data import RunData, gather
from hwnas.report.strip import draw
from hwnas.report.summary import rows, rows_there
from hwnas.report.template import fill
from hwnas.run.result import NetworkResult
from hwnas.search.collapse import verdict


def write_report(run_dir: Path) -> Path:
    """`report.html` of a run, finished or only searched. Raises BadInput when there is no result yet."""
    page = run_dir / "report.html"
    write_atomic(page, render(gather(run_dir)))
    return page


def render(run: RunData) -> str:
    filters = {"ms": partial(_ms, scale_ms=run.result.predicted_ms), "percent": _percent, "million": _million}
    return fill(
        "page.html",
        filters,
        run=run,
        result=run.result,
        config=run.config,
        rows=[(role, network, _latency_ms(run, network)) for role, network in rows(run.result)],
        also_on=[
            (there, each.target, rows_there(run.result, there))
            for there, each in zip(run.result.also_on, run.config.also_on, strict=True)
        ],
        speedup=_speedup(run),
        images=(run.journal.last("tested") or {}).get("images"),
        scaled_note=(run.journal.last("chosen", role="reference_scaled") or {}).get("note"),
        command=f"hwnas run --config {shlex.quote(str(run.path / 'config.yaml'))} "
        f"--out {shlex.quote(str(run.path) + '-again')}",
        **_latency_parts(run),
        **_search_parts(run),
    )


def _latency_parts(run: RunData) -> dict[str, Any]:
    """What needs the latency table; it may be gone or another by now, and the page then says so."""
    identity = run.journal.last("profiled") or {}
    parts: dict[str, Any] = {"machine": identity.get("fingerprint", {}), "table": None, "unstable": [], "operators": 0}
    parts["class_names"] = identity.get("class_names", [])
    try:
        drawing, fidelity = draw(run), points.fidelity(run)
    except HwnasError as error:
        return parts | {
            "drawing": None,
            "fidelity": None,
            "fidelity_chart": None,
            "no_latency": error.what,
            "change": "",
        }
    used = {str(conditional.spec) for conditional in run.space.operators()}
    return parts | {
        "drawing": drawing,
        "fidelity": fidelity,
        "fidelity_chart": charts.fidelity_chart(fidelity, run.result.verb) if fidelity else None,
        "no_latency": run.table.origin,
        "change": run.change,
        "table": run.table,
        "operators": len(used),
        "predicted": len(run.table.predicted(run.space)),
        "unstable": [] if run.table.imported else sorted(k for k in used if run.table.entries[k].unstable),
    }


def _search_parts(run: RunData) -> dict[str, Any]:
    found, curves = points.evaluations(run), points.convergence(run)
    others = range(1, 1 + len(run.result.also_on)) if found.all else range(0)
    convergence = None
    if curves:
        convergence = charts.convergence_chart(curves)
    elif len(found.all) > 1:
        convergence = charts.progress_chart(found)
    return {
        "found": found,
        "pareto_chart": charts.pareto_chart(found, alone=not others) if found.all else None,
        "other_charts": {f"pareto-{i}": charts.pareto_chart(points.evaluations(run, i), alone=False) for i in others},
        "convergence_chart": convergence,
        "gradient": bool(curves),
        "collapse": verdict(list(run.journal.of("epoch"))),
    }


def _latency_ms(run: RunData, network: NetworkResult) -> float | None:
    """Measured, by the budget's statistic."""
    if network.measured_ms is None:
        return None
    return network.measured_ms.p90 if run.budget.statistic == "p90" else network.measured_ms.median


def _speedup(run: RunData) -> tuple[float, str] | None:
    """How many times faster than the reference, and how that is known."""
    by_role = dict(rows(run.result))
    if "reference" not in by_role:
        return None
    winner, reference = by_role["winner"], by_role["reference"]
    ours, theirs = _latency_ms(run, winner), _latency_ms(run, reference)
    if ours is not None and theirs is not None:
        return theirs / ours, run.result.verb
    if winner.predicted_ms is None or reference.predicted_ms is None:
        return None
    return reference.predicted_ms / winner.predicted_ms, "predicted"


def _ms(value: float | None, scale_ms: float) -> str:
    """All milliseconds of a page with as many decimals as give the winner's four digits."""
    return "–" if value is None else f"{value:.{max(0, 3 - floor(log10(scale_ms)))}f}"


def _percent(fraction: float | None, decimals: int = 2) -> str:
    return "–" if fraction is None else f"{100 * fraction:.{decimals}f} %"


def _million(count: int) -> str:
    return f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count / 1e3:.3g} k"
