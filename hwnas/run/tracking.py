"""Runs for the eyes of others: their journals as TensorBoard's events or as MLflow's files."""

from pathlib import Path

from hwnas.core.progress import Progress, warn
from hwnas.run.directory import stored_config
from hwnas.run.listing import Listed, journal_of
from hwnas.run.mlflow import export_mlflow
from hwnas.run.tensorboard import TensorBoard

FOLDERS = {"mlflow": Path("mlruns"), "tensorboard": Path("tensorboard")}
VIEWERS = {
    "mlflow": "MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {}",
    "tensorboard": "tensorboard --logdir {}",
}


def export_runs(runs: list[Listed], root: Path, to: str, out: Path | None) -> dict[str, object]:
    """`runs`, found below `root`, into `out`; those that are damaged are left out, and told. Returns what was written,
    and the command that shows it. Raises Unavailable when the package is not installed."""
    out, written = out or FOLDERS[to], 0
    with Progress(f"export to {to}", len(runs)) as progress:
        for run in runs:
            progress.advance()
            if run.state == "damaged":
                warn(f"left out {run.path}: {run.trouble}")
                continue
            path = Path(run.path)
            if to == "mlflow":
                export_mlflow(out, path, run.state, stored_config(path), journal_of(path))
            else:
                TensorBoard(out / (path.relative_to(root) if path != root else path.name), journal_of(path))
            written += 1
    shown_by = VIEWERS[to].format(out)
    return {"exported": str(out), "written": written, "shown_by": shown_by}
