"""What takes a file that is finished: `hwnas verify`, `hwnas rebuild`, `hwnas measure`."""

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from hwnas.cli_flags import DataDir, Flag, Json, Quiet, Target
from hwnas.core.progress import be_quiet


def verify(
    bundle: Annotated[Optional[Path], typer.Argument(help="A bundle. Default: the default run's.")] = None,
    target: Target = None,
    data: Annotated[Optional[str], Flag("--data", help="Also the accuracy of each format on this data set.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a bundle from its own files: hashes, structure, preprocessing, parity of every format, latency."""
    from hwnas.core.config import PluginSettings
    from hwnas.deploy.verify import verify_bundle
    from hwnas.run.config import overrides, resolve

    be_quiet(quiet)
    folder = bundle or resolve({}).default_directory() / "bundle"
    given = overrides(data=data, data_dir=data_dir).get("data") if data else None
    outcome = verify_bundle(folder, target, given and PluginSettings.model_validate(given))
    for check in outcome.checks:
        typer.echo(f"{'ok    ' if check.ok else 'FAILED'} {check.name}: {check.detail}")
    if as_json:
        typer.echo(json.dumps(outcome.facts()))
    outcome.raise_for_failure()


def rebuild(
    bundle: Annotated[Optional[Path], typer.Argument(help="A bundle. Default: the default run's.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compile a bundle's engines again, for this machine's device and library. Then verify it."""
    from hwnas.deploy.rebuild import rebuild_bundle
    from hwnas.run.config import resolve

    be_quiet(quiet)
    folder = bundle or resolve({}).default_directory() / "bundle"
    rebuilt = rebuild_bundle(folder)
    typer.echo(f"{folder}: {', '.join(rebuilt) or 'nothing'} compiled again; hwnas verify {folder} checks it")
    if as_json:
        typer.echo(json.dumps({"bundle": str(folder), "rebuilt": rebuilt}))


def measure(
    model: Annotated[Optional[Path], typer.Argument(help="An ONNX model. Default: the default run's.")] = None,
    target: Target = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time any ONNX model on a target, by the protocol of the profiler."""
    from hwnas.core.target import load_target
    from hwnas.deploy.measure import measure_file
    from hwnas.latency.fingerprint import how_known
    from hwnas.run.config import resolve

    be_quiet(quiet)
    file = model or resolve({}).default_directory() / "bundle" / "model.onnx"
    facts = measure_file(file, load_target(target or "cpu"))
    known = how_known(facts["fingerprint"])
    timing = "median {median_ms:.4f} ms, p90 {p90_ms:.4f} ms, {samples} runs"
    if known != "measured":
        timing = f"{{median_ms:.4f}} ms, {known}"
    typer.echo(("{model} on {target}: " + timing).format(**facts))
    energy = "" if facts["energy_mj"] is None else "{energy_mj:.4g} mJ a run, ".format(**facts)
    typer.echo(f"energy: {energy}{facts['energy_meter']}")
    if as_json:
        typer.echo(json.dumps(facts))
