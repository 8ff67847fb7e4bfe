"""`hwnas compare`."""

import json
from typing import Annotated, Optional

import typer

from hwnas.cli_flags import ConfigFile, DataDir, DataName, DryRun, Flag, Json, Out, Quiet, Space, Target, several
from hwnas.core.progress import be_quiet


def compare(
    strategy: Annotated[
        Optional[list[str]], Flag(help="Repeat it, or a,b,c. Default: random and proxyless (or the file's).")
    ] = None,
    budget: Annotated[Optional[list[str]], Flag(help="As of a run; repeat it, or a,b,c. Default: 60%.")] = None,
    seeds: Annotated[int, Flag(min=1, help="How many.")] = 3,
    seed: Annotated[int, Flag(min=0, help="The first of them.")] = 0,
    workers: Annotated[
        Optional[int], Flag(min=1, help="Searches and trainings at once; what is timed runs alone. Default: 1.")
    ] = None,
    target: Target = None,
    space: Space = None,
    data: DataName = None,
    data_dir: DataDir = None,
    out: Out = None,
    config: ConfigFile = None,
    set_: Annotated[
        Optional[list[str]], Flag("--set", help="As of a run; guided.trials=60 is of that strategy alone. Repeatable.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Several strategies, seeds and budgets: one table and one page, with paired differences and intervals."""
    from hwnas.compare.cells import matrix
    from hwnas.run.config import overrides

    be_quiet(quiet)
    flags = overrides(target=target, space=space, data=data, data_dir=data_dir, workers=workers)
    chosen = range(seed, seed + seeds)
    cells = matrix(flags, config, set_ or (), several(strategy), several(budget), chosen, out)
    if dry_run:
        typer.echo("\n".join(cell.name for cell in cells.cells) + f"\n# {len(cells.cells)} searches in {cells.path}")
        return
    from hwnas.compare.run import compare as compare_all
    from hwnas.compare.table import facts, text
    from hwnas.report.comparison import write_comparison

    compared = compare_all(cells)
    typer.echo(text(compared))
    typer.echo(f"report.html   {write_comparison(compared)}")
    if as_json:
        typer.echo(json.dumps(facts(compared)))
