"""`hwnas calibrate`."""

import json
from typing import Annotated, Optional

import typer

from hwnas.cli_flags import (
    BudgetText,
    ConfigFile,
    DataDir,
    DataName,
    DryRun,
    Flag,
    Json,
    Out,
    Quiet,
    Seed,
    Space,
    Target,
    Workers,
    several,
)
from hwnas.core.progress import be_quiet


def calibrate(
    networks: Annotated[int, Flag(min=4, help="How many are trained fully; more, with the same --out, goes on.")] = 30,
    estimator: Annotated[Optional[list[str]], Flag(help="Repeat it, or a,b,c. Default: all that train.")] = None,
    hours: Annotated[Optional[list[float]], Flag(help="Advise for so much time. Default: 0.25, 1 and 8.")] = None,
    target: Target = None,
    space: Space = None,
    data: DataName = None,
    data_dir: DataDir = None,
    budget: BudgetText = None,
    seed: Seed = None,
    workers: Workers = None,
    out: Out = None,
    config: ConfigFile = None,
    set_: Annotated[
        Optional[list[str]], Flag("--set", help="As of a run; subset.fraction=0.1 is of that estimator. Repeatable.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a random sample fully, and say which estimator to trust, at what cost: one table and one page.

    With --budget, networks within it; else any of the space. The truth is the search split's: no test image is touched.
    """
    from hwnas.calibrate.plans import plans, split_assignments
    from hwnas.calibrate.run import default_directory
    from hwnas.run.config import overrides, resolve

    be_quiet(quiet)
    flags = overrides(target=target, space=space, data=data, data_dir=data_dir, budget=budget, seed=seed)
    flags |= overrides(workers=workers)
    own, rest = split_assignments(set_ or ())
    resolved = resolve(flags, config, rest)
    chosen = plans(several(estimator), own, networks, resolved.training.epochs)
    if dry_run:
        folder = out or default_directory(resolved)
        typer.echo("\n".join(plan.label for plan in chosen) + f"\n# of {networks} networks, in {folder}")
        return
    from hwnas.calibrate.run import calibrate as calibrate_all
    from hwnas.calibrate.table import facts, text
    from hwnas.report.calibration import write_calibration

    times = hours or (0.25, 1.0, 8.0)
    found = calibrate_all(resolved, chosen, networks, budget is not None, out)
    typer.echo(text(found, times))
    typer.echo(f"report.html   {write_calibration(found, times)}")
    if as_json:
        typer.echo(json.dumps(facts(found, times)))
