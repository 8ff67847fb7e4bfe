"""A journal as a run of MLflow, in a folder of files: no server. The journal stays the source: exported again, a run
takes the place of what it was there.
"""

import os
from pathlib import Path
from typing import Any

from hwnas.core.errors import Unavailable
from hwnas.core.files import storage_failed
from hwnas.core.journal import Journal
from hwnas.run.config import RunConfig
from hwnas.run.numbers import Numbers

_EXPERIMENT = "hwnas"
_AT_ONCE = 1000
"""Numbers a call; MLflow takes no more."""
_LONGEST = 6000
"""Characters of a parameter that MLflow takes."""
_STATES = {"finished": "FINISHED", "running": "RUNNING", "failed": "FAILED"}


def export_mlflow(folder: Path, path: Path, state: str, config: RunConfig, journal: Journal) -> None:
    """The run directory `path` into the file store `folder`. Raises Unavailable when MLflow is not installed."""
    # MLflow advises a database in place of files, for its server's sake; there is none here.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
    except ImportError as error:
        raise Unavailable("MLflow is not installed", "pip install 'hwnas[mlflow]'") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=folder.absolute().as_uri())
        known = client.get_experiment_by_name(_EXPERIMENT)
        experiment = known.experiment_id if known else client.create_experiment(_EXPERIMENT)
        where = str(path.absolute())
        for old in client.search_runs([experiment]):
            if old.data.tags.get("hwnas.run_dir") == where:
                client.delete_run(old.info.run_id)
        run = client.create_run(experiment, run_name=path.name, tags={"hwnas.run_dir": where, "hwnas.state": state})
        key = run.info.run_id
        params = [Param(name, value[:_LONGEST]) for name, value in _settings(config.model_dump(mode="json")).items()]
        changed_ms = int(1000 * journal.path.stat().st_mtime) if journal.path.exists() else 0
        numbers = Numbers()
        metrics = [
            Metric(tag, float(value), changed_ms, step)  # a journal does not say when: by the step, not by the clock
            for record in journal.records
            for tag, value, step in numbers.of(record)
        ]
        client.log_batch(key, params=params)
        for start in range(0, len(metrics), _AT_ONCE):
            client.log_batch(key, metrics[start : start + _AT_ONCE])
        client.set_terminated(key, _STATES.get(state, "KILLED"))
    except OSError as error:
        storage_failed(folder, error)


def _settings(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """'search.epochs' → '30'."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _settings(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat
