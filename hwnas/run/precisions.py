"""Precision as a part of the search: one device and runtime, searched in each precision that it has a profile for.

Which precisions belong together is a rule and no setting: targets that differ in nothing but precision (and in name and
description) are one device computing in several ways.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.core.budget import parse_budget
from hwnas.core.errors import BadInput, Infeasible, Unavailable, VerificationFailed
from hwnas.core.plugins import load
from hwnas.core.target import Target, load_target, target_names
from hwnas.run.config import RunConfig
from hwnas.run.directory import stored_config
from hwnas.run.result import Result, load_result
from hwnas.run.stages import Run
from hwnas.training.ranks import here

_ORDER = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Searched:
    """`judged`: accuracy on the search split: the search's estimate of the winner, less what rounding it costs there.
    The test split is no judge. `failure`: why there is no result.
    """

    target: Target
    path: Path
    result: Result | None = None
    judged: float | None = None
    failure: str = ""

    def facts(self) -> dict[str, Any]:
        found = {} if self.result is None else self.result.model_dump(mode="json")
        told = ("accuracy", "predicted_ms", "measured_ms", "budget_ms", "within_budget")
        return {
            "precision": self.target.precision,
            "target": self.target.name,
            "run_dir": str(self.path),
            "judged": self.judged,
            "failure": self.failure,
        } | {name: found.get(name) for name in told}


def precisions_of(target: Target) -> list[Target]:
    """`target` and those that differ from it only in precision, fp32 first."""
    apart = {"name", "description", "precision"}
    device = target.model_dump(exclude=apart)
    known = [load_target(name) for name in target_names()]
    others = [t for t in known if t.precision != target.precision and t.model_dump(exclude=apart) == device]
    return sorted([target, *others], key=lambda t: _ORDER.index(t.precision))


def in_precision(target: Target, precision: str) -> Target:
    """Raises BadInput when the device has no such profile."""
    found = {t.precision: t for t in precisions_of(target)}
    if precision not in found:
        raise BadInput(
            f"target '{target.name}' has no profile in {precision}, only in {', '.join(found)}",
            f"write profiles/{target.name}-{precision}.yaml: the same, with precision: {precision}",
        )
    return found[precision]  # type: ignore[index]


def search_precisions(
    config: RunConfig, out: Path | None, stage: Callable[[Run], object], allow_mismatch: bool = False
) -> list[Searched]:
    """Each precision's run, taken through `stage`, in a directory of its own. Raises the named target's error when no
    precision has a result.

    All share one budget in milliseconds: a per cent is of the named target's reference as predicted, for a share of
    each precision's own reference would hide that one of them is slower.
    """
    if config.also_on:
        raise BadInput("--precision auto is for one target", "name one --target")
    if here().size > 1:
        raise BadInput("--precision auto is for one process", "torchrun with one --precision after the other")
    if load("spaces", config.space.name).reads_text:
        raise BadInput("--precision auto is for images: networks that read text run in fp32 alone", "leave it out")
    named, budget = config.target, parse_budget(config.budget)
    folder = out or Path(f"{config.default_directory()}-precisions")
    ordered = sorted(precisions_of(named), key=lambda t: t.name != named.name)
    found, errors, budget_text = [], [], config.budget
    for target in ordered:
        path = folder / target.name
        own = config.model_copy(update={"target": target, "budget": budget_text})
        if target.name != named.name and (path / "config.yaml").exists():
            own = own.model_copy(update={"budget": stored_config(path).budget})  # the named one may be profiled anew
        try:
            with Run(own, path, allow_mismatch=allow_mismatch) as run:
                if target.name == named.name and budget.ms is None:
                    budget_ms = budget.resolve_ms(run.latency.predict(run.space.reference()))
                    budget_text = f"{budget_ms:.5g}ms" + ("@p90" if budget.statistic == "p90" else "")
                stage(run)
                result = load_result(path)
                found.append(Searched(target, path, result, _judged(run, result)))
        except (Infeasible, VerificationFailed, Unavailable) as error:
            errors.append(error)
            found.append(Searched(target, path, failure=error.what))
    if len(errors) == len(found):
        raise errors[0]
    return found


def best(found: list[Searched]) -> Searched:
    """The most accurate within the budget as judged, of equals the fastest. What is not measured yet may still fit."""

    def merit(s: Searched) -> tuple[bool, float, float]:
        assert s.result is not None and s.judged is not None
        ms = s.result.measured_ms.median if s.result.measured_ms else s.result.predicted_ms
        return s.result.within_budget is not False, s.judged, -ms

    return max((s for s in found if s.result is not None), key=merit)


def _judged(run: Run, result: Result) -> float:
    winner = result.arch
    estimate = next(r["accuracy"] for r in run.journal.of("trial") if r["arch"] == winner)
    rounded = run.journal.last("rounded", role="winner", arch=winner)
    return estimate if rounded is None else estimate + rounded["int8"] - rounded["exact"]


def table(found: list[Searched]) -> str:
    """Accuracy against latency, a row a precision; and which one ships."""
    lines = [f"{'precision':<11}{'target':<18}{'judged':>9}{'test':>9}{'predicted':>11}{'measured':>10}  within budget"]
    for s in found:
        start = f"{s.target.precision:<11}{s.target.name:<18}"
        if s.result is None or s.judged is None:
            lines.append(f"{start}  {s.failure}")
            continue
        r = s.result
        test = f"{100 * r.accuracy:>8.2f}%" if r.accuracy is not None else f"{'-':>9}"
        ms = f"{r.measured_ms.median:>10.4f}" if r.measured_ms else f"{'-':>10}"
        kept = {True: "yes", False: "no", None: "not measured yet"}[r.within_budget]
        lines.append(f"{start}{100 * s.judged:>8.2f}%{test}{r.predicted_ms:>11.4f}{ms}  {kept}")
    ships = best(found)
    lines.append(f"{ships.target.precision} is the most accurate within the budget, judged on the search split")
    return "\n".join(lines)
