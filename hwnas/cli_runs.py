"""`hwnas runs`: no logic."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from hwnas.cli_flags import Flag, Json


class Trackers(StrEnum):
    tensorboard = "tensorboard"
    mlflow = "mlflow"


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder of run directories, or one of them.")] = Path("runs"),
    to: Annotated[Optional[Trackers], Flag(help="Also write their journals for TensorBoard or MLflow.")] = None,
    out: Annotated[Optional[Path], Flag(help="The folder to write to. Default: mlruns, or tensorboard.")] = None,
    as_json: Json = False,
) -> None:
    """The runs of a folder: state, progress, result. Of one run also its failed trials and what they said."""
    from hwnas.report.runs import one_run, runs_table
    from hwnas.run.listing import list_runs
    from hwnas.run.tracking import export_runs

    found = list_runs(folder)
    alone = len(found) == 1 and Path(found[0].path) == folder
    typer.echo(one_run(found[0]) if alone else runs_table(found) if found else f"no runs in {folder}")
    told: dict[str, object] = {"runs": [run.facts() for run in found]}
    if to is not None:
        told |= export_runs(found, folder, to, out)
        typer.echo(told["shown_by"])
    if as_json:
        typer.echo(json.dumps(told))
