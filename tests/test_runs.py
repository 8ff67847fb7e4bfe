"""`hwnas runs`: every state is told apart, and nothing that lies in a folder stops the listing."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import hwnas
from report_run import MadeRun

from hwnas.core.errors import Infeasible
from hwnas.core.journal import Journal
from hwnas.run.directory import RunDirectory, held
from hwnas.run.failure import failure_of, note_failure
from hwnas.run.listing import list_runs, listed


@pytest.fixture
def made(tmp_path: Path) -> MadeRun:
    return MadeRun(tmp_path / "runs")


def told(*arguments: object) -> dict[str, Any]:
    outcome = hwnas("runs", *arguments, "--json")
    assert outcome.code == 0, outcome.stderr
    return json.loads(outcome.stdout.splitlines()[-1])


def test_states_progress_and_results(tmp_path: Path, made: MadeRun) -> None:
    made.journal.append("done", arch=[])
    stopped = MadeRun(tmp_path / "runs", finished=False, name="nested/stopped", seed=3)
    lost = tmp_path / "runs" / "lost"
    shutil.copytree(stopped.path, lost)
    note_failure(lost, Infeasible("no network fits", "--budget 9ms"))
    (running := tmp_path / "runs" / "running").mkdir()
    shutil.copy(stopped.path / "config.yaml", running)
    lock = held(running)
    found = {Path(run["path"]).name: run for run in told(tmp_path / "runs")["runs"]}
    lock.release()
    assert {name: run["state"] for name, run in found.items()} == {
        "run": "finished",
        "stopped": "interrupted",
        "lost": "failed",
        "running": "running",
    }
    assert found["run"]["accuracy"] == made.result.accuracy and found["run"]["stage"] == "done"
    assert found["run"]["measured_ms"] == made.result.measured_ms.median  # type: ignore[union-attr]
    assert found["stopped"]["seed"] == 3 and found["stopped"]["strategy"] == "proxyless"
    assert found["lost"]["trouble"] == "no network fits"
    assert found["running"]["stage"] == "profile"
    assert {run.path: run.state for run in list_runs(tmp_path / "runs")}[str(running)] == "interrupted"


def test_looking_changes_nothing(tmp_path: Path, made: MadeRun) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    told(tmp_path / "runs")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


TROUBLES = {
    "an altered journal": lambda run: (run / "journal.jsonl").write_text("{}\n"),
    "a journal of bytes": lambda run: (run / "journal.jsonl").write_bytes(b"\xff\xfe\n\n"),
    "a folder as journal": lambda run: ((run / "journal.jsonl").unlink(), (run / "journal.jsonl").mkdir()),
    "a pipe as journal": lambda run: ((run / "journal.jsonl").unlink(), os.mkfifo(run / "journal.jsonl")),
    "no configuration": lambda run: (run / "config.yaml").unlink(),
    "a torn configuration": lambda run: (run / "config.yaml").write_text("seed: [1"),
    "another version's": lambda run: (run / "config.yaml").write_text("sed: 1"),
    "a binary configuration": lambda run: (run / "config.yaml").write_bytes(b"\xff\x00"),
    "a torn result": lambda run: (run / "result.json").write_text('{"arch": [0'),
    "a binary result": lambda run: (run / "result.json").write_bytes(b"\xff\x00"),
    "a pipe as result": lambda run: ((run / "result.json").unlink(), os.mkfifo(run / "result.json")),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_damaged_directory_is_told_and_hides_no_other(tmp_path: Path, made: MadeRun, trouble: str) -> None:
    whole = tmp_path / "runs" / "whole"
    shutil.copytree(made.path, whole)
    TROUBLES[trouble](made.path)
    found = {Path(run.path).name: run for run in list_runs(tmp_path / "runs")}
    assert found["run"].state == "damaged" and found["run"].trouble
    assert found["whole"].state == "interrupted"
    assert hwnas("runs", tmp_path / "runs").code == 0
    assert hwnas("runs", made.path).code == 0


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "training"},
        {"kind": "training", "epoch": "x", "role": 3},
        {"kind": "searching", "trials": "many"},
        {"kind": "trial", "arch": 0, "failed": ["?"], "log": {"a": 1}},
    ],
)
def test_records_of_another_form_do_not_stop_it(made: MadeRun, record: dict[str, Any]) -> None:
    with (made.path / "journal.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    assert hwnas("runs", made.path).code == 0


def test_a_torn_last_line_is_an_interrupted_run(made: MadeRun) -> None:
    with (made.path / "journal.jsonl").open("a") as file:
        file.write('{"kind": "tri')
    assert listed(made.path).state == "interrupted"


def test_one_run_shows_its_failed_trials_and_their_logs(made: MadeRun) -> None:
    (made.path / "logs").mkdir()
    (made.path / "logs" / "7.log").write_text("epoch 1\nkilled: out of memory\n")
    why = "the worker ended with the status -9"
    made.journal.append("trial", arch=[1, 2], accuracy=0.0, failed=why, log="logs/7.log")
    (made.path.parent / "secret").write_text("of another folder")
    made.journal.append("trial", arch=[2, 2], accuracy=0.0, failed=why, log="../secret")
    shown = hwnas("runs", made.path).stdout
    assert "of another folder" not in shown and "2 failed trials" in shown
    assert "status -9" in shown and "| killed: out of memory" in shown
    assert f"hwnas run --out {made.path}" in shown


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    refused = hwnas("runs", tmp_path / "none")
    assert refused.code == 2 and "no folder" in refused.stderr
    assert "no runs" in hwnas("runs", tmp_path).stdout


def test_a_run_that_ends_in_an_error_is_failed_until_it_goes_on(bare: Path) -> None:
    arguments = ("search", "--config", "tiny.yaml", "--strategy", "random", "--set", "strategy.trials=2", "--out", "r")
    refused = hwnas(*arguments, "--set", "budget=0.0000001ms")
    assert refused.code == 3
    run = listed(Path("r"))
    assert run.state == "failed" and run.trouble and failure_of(Path("r")).exit_code == 3  # type: ignore[union-attr]
    shutil.rmtree("r")
    assert hwnas(*arguments).code == 0
    run = listed(Path("r"))
    assert (run.state, run.stage, run.done, run.of) == ("interrupted", "select", 2, 2)
    note_failure(Path("r"), ValueError("a defect"))
    assert listed(Path("r")).trouble == "ValueError: a defect"
    assert hwnas(*arguments).code == 0 and failure_of(Path("r")) is None


def test_a_glance_at_the_lock_stops_no_run(made: MadeRun) -> None:
    """A lister may hold it for an instant."""
    import fcntl
    import threading

    lock = (made.path / ".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    threading.Timer(0.05, lock.close).start()
    RunDirectory(made.path, made.config).close()


def test_mlflow_holds_what_the_journal_says(tmp_path: Path, made: MadeRun) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra [mlflow] is not installed")
    MadeRun(tmp_path / "runs", name="bad").journal.path.write_text("{}\n")
    for _ in range(2):  # again: the run takes its own place
        found = told(tmp_path / "runs", "--to", "mlflow", "--out", tmp_path / "ml")
    assert found["written"] == 1
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "ml").as_uri())
    runs = client.search_runs([client.get_experiment_by_name("hwnas").experiment_id])
    assert len(runs) == 1 and runs[0].data.params["seed"] == str(made.config.seed)
    assert runs[0].data.tags["hwnas.state"] == "interrupted" and runs[0].data.params["space.name"] == "mobile"
    epochs = list(Journal(made.path / "journal.jsonl").of("epoch"))
    name = next(key for key, value in epochs[0].items() if isinstance(value, float))
    history = sorted(client.get_metric_history(runs[0].info.run_id, f"search/{name}"), key=lambda m: m.step)
    assert [(m.step, m.value) for m in history] == [(e["epoch"], e[name]) for e in epochs]


def test_tensorboard_holds_what_the_journal_says(tmp_path: Path, made: MadeRun) -> None:
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told(tmp_path / "runs", "--to", "tensorboard", "--out", tmp_path / "tb")
    events = EventAccumulator(str(tmp_path / "tb" / "run"))
    events.Reload()
    epochs = list(made.journal.of("epoch"))
    name = next(key for key, value in epochs[0].items() if isinstance(value, float))
    assert [(e.step, e.value) for e in events.Scalars(f"search/{name}")] == [
        (e["epoch"], pytest.approx(e[name], rel=1e-6)) for e in epochs
    ]


def test_missing_mlflow_says_what_to_install(made: MadeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    refused = hwnas("runs", made.path, "--to", "mlflow", "--out", made.path / "ml")
    assert refused.code == 4 and "pip install 'hwnas[mlflow]'" in refused.stderr
