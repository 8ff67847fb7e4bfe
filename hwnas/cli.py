"""The command line: one function a verb, no logic."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from hwnas.cli_bundle import measure, rebuild, verify
from hwnas.cli_calibrate import calibrate
from hwnas.cli_compare import compare
from hwnas.cli_flags import (
    BudgetText,
    ConfigFile,
    DataDir,
    DataName,
    DryRun,
    Flag,
    Json,
    Mismatch,
    Out,
    Precision,
    Quiet,
    Seed,
    Set,
    Space,
    Strategy,
    Targets,
    Workers,
)
from hwnas.cli_runs import runs
from hwnas.cli_table import table
from hwnas.core.errors import BadInput, HwnasError
from hwnas.core.progress import be_quiet, say

if TYPE_CHECKING:
    from hwnas.run.config import RunConfig
    from hwnas.run.stages import Run

_SEVERAL_RANKS = ("run", "search", "train", "export")
"""Verbs for torchrun."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Hardware-aware neural architecture search: profile a device, search under a latency budget, ship what was "
    "measured.",
)


@app.callback()
def _ranks(context: typer.Context) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and context.invoked_subcommand not in _SEVERAL_RANKS:
        raise BadInput(f"hwnas {context.invoked_subcommand} runs in one process", "run it without torchrun")


def _config(
    out: Path | None, file: Path | None, sets: list[str] | None, workers: int | None = None, **flags: Any
) -> "RunConfig":
    """Of the flags given; of the run directory, when only that is given: any number of workers may go on with it."""
    from hwnas.run.config import overrides, resolve
    from hwnas.run.directory import stored_config

    given = overrides(**flags)
    if out and (out / "config.yaml").exists() and not given and not sets and not file:
        stored = stored_config(out)
        return stored.with_workers(workers) if workers else stored
    return resolve(given | overrides(workers=workers), file, tuple(sets or ()))


def _staged(
    stage: "Callable[[Run], None]",
    *,
    out: Path | None,
    config: Path | None,
    set_: list[str] | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    allow_mismatch: bool = False,
    precision: str | None = None,
    **flags: Any,
) -> None:
    """Open the run directory, do one stage, print its result."""
    be_quiet(quiet)
    resolved = _config(out, config, set_, **flags)
    if precision == "auto" and not dry_run:
        _each_precision(stage, resolved, out, as_json, allow_mismatch)
        return
    if precision not in (None, "auto"):
        from hwnas.run.precisions import in_precision

        resolved = resolved.model_copy(update={"target": in_precision(resolved.target, precision)})
    if dry_run:
        folder = out or resolved.default_directory()
        typer.echo(resolved.to_yaml() + f"# run directory: {folder}")
        if as_json:
            typer.echo(json.dumps(resolved.model_dump(mode="json") | {"run_dir": str(folder)}))
        return
    from hwnas.report.summary import summary
    from hwnas.run.result import load_result
    from hwnas.run.stages import Run

    with Run(resolved, out, allow_mismatch=allow_mismatch) as run:
        say(f"run directory: {run.path}")
        stage(run)
        if not run.ranks.writer:
            return
        result = load_result(run.path)
        typer.echo(summary(result))
        typer.echo(f"run directory {run.path}")
        for name in ("report.html", "bundle"):
            if (run.path / name).exists():
                typer.echo(f"{name:<13} {run.path / name}")
        if as_json:
            typer.echo(json.dumps(result.model_dump(mode="json") | {"run_dir": str(run.path)}))


def _each_precision(
    stage: "Callable[[Run], None]", config: "RunConfig", out: Path | None, as_json: bool, allow_mismatch: bool
) -> None:
    """The stage in every precision, then which is best."""
    from hwnas.run.precisions import best, search_precisions, table

    found = search_precisions(config, out, stage, allow_mismatch)
    ships = best(found)
    typer.echo(table(found))
    typer.echo(f"run directory {ships.path}")
    if as_json:
        assert ships.result is not None
        facts = {"run_dir": str(ships.path), "precisions": [searched.facts() for searched in found]}
        typer.echo(json.dumps(ships.result.model_dump(mode="json") | facts))


@app.command()
def run(
    target: Targets = None,
    precision: Precision = None,
    space: Space = None,
    strategy: Strategy = None,
    data: DataName = None,
    data_dir: DataDir = None,
    budget: BudgetText = None,
    seed: Seed = None,
    out: Out = None,
    config: ConfigFile = None,
    set_: Set = None,
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
    allow_mismatch: Mismatch = False,
) -> None:
    """Everything: profile, search, train, export, verify, measure, report."""
    flags = locals()

    def stage(run: "Run") -> None:
        from hwnas.report.page import write_report

        run.finish()
        if run.ranks.writer:
            write_report(run.path)

    _staged(stage, **flags)


@app.command()
def search(
    target: Targets = None,
    precision: Precision = None,
    space: Space = None,
    strategy: Strategy = None,
    data: DataName = None,
    data_dir: DataDir = None,
    budget: BudgetText = None,
    seed: Seed = None,
    out: Out = None,
    config: ConfigFile = None,
    set_: Set = None,
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
    allow_mismatch: Mismatch = False,
) -> None:
    """Profile what is missing, and search. `train` and `export` go on from there."""
    flags = locals()
    _staged(lambda run: _ignore(run.search()), **flags)


@app.command()
def train(
    run_dir: Annotated[Optional[Path], typer.Argument(help="The run directory.")] = None,
    out: Out = None,
    config: ConfigFile = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the winner and its references."""
    _staged(
        lambda run: _ignore(run.train()),
        out=_existing(run_dir) or out,
        config=config,
        set_=set_,
        dry_run=False,
        as_json=as_json,
        quiet=quiet,
    )


@app.command()
def export(
    run_dir: Annotated[Optional[Path], typer.Argument(help="The run directory.")] = None,
    out: Out = None,
    config: ConfigFile = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Export, check parity, measure, test and bundle."""
    _staged(
        lambda run: _ignore(run.finish()),
        out=_existing(run_dir) or out,
        config=config,
        set_=set_,
        dry_run=False,
        as_json=as_json,
        quiet=quiet,
    )


@app.command()
def profile(
    target: Annotated[
        Optional[list[str]], Flag(help="A name, or a YAML profile's path. Repeat it for several devices side by side.")
    ] = None,
    space: Space = None,
    data: DataName = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    set_: Set = None,
    workers: Annotated[Optional[int], Flag(min=1, help="At most so many devices at a time. Default: all.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
    fresh: Annotated[bool, Flag("--fresh", help="Measure everything again.")] = False,
    pack: Annotated[Optional[Path], Flag(help="Write a kit to run on a device that is not connected: kit.tar.")] = None,
    import_: Annotated[Optional[Path], Flag("--import", help="Read the kit's results.json back.")] = None,
) -> None:
    """Time every operator of the space that the target's table lacks, and calibrate."""
    from hwnas.run.profiling import import_kit, pack_kit, profile_target
    from hwnas.run.profiling_several import profile_several

    be_quiet(quiet)
    if pack and import_:
        raise typer.BadParameter("--pack writes a kit, --import reads its results: give one of them")
    if (pack or import_) and len(target or ()) > 1:
        raise typer.BadParameter("a kit is for one device: give one --target")
    resolved = _config(None, config, set_, workers, target=target, space=space, data=data, data_dir=data_dir)
    if pack:
        outcome = pack_kit(resolved, pack)
    elif import_:
        outcome = import_kit(resolved, import_, fresh)
    else:
        profile_all = profile_several if resolved.also_on else profile_target
        outcome = profile_all(resolved, fresh=fresh, dry_run=dry_run)
    typer.echo(outcome.text)
    if as_json:
        typer.echo(json.dumps(outcome.facts))


@app.command()
def report(
    run_dir: Annotated[Optional[Path], typer.Argument(help="The run directory.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Write the run's page again."""
    from hwnas.report.page import write_report
    from hwnas.run.config import resolve

    page = write_report(run_dir or out or resolve({}).default_directory())
    typer.echo(json.dumps({"report": str(page)}) if as_json else f"report.html   {page}")


@app.command()
def explain(
    run_dir: Annotated[Optional[Path], typer.Argument(help="The run directory.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Where the milliseconds of the winner go, and what the cheapest single change would save."""
    from hwnas.report.explain import explain_run
    from hwnas.run.config import resolve

    explanation = explain_run(run_dir or out or resolve({}).default_directory())
    typer.echo(json.dumps(explanation.facts()) if as_json else explanation.text())


@app.command()
def targets(as_json: Json = False) -> None:
    """The targets known here, and what each needs."""
    from hwnas.run.profiling import known_targets

    found = known_targets()
    for t in found:
        state = "available" if t["available"] else f"needs: {t['needs']}"
        typer.echo(f"{t['name']:<16}{t['runtime']:<14}{t['precision']:<6}{'table' if t['table'] else '-':<7}{state}")
    if as_json:
        typer.echo(json.dumps(found))


@app.command(name="list")
def list_(as_json: Json = False) -> None:
    """Every strategy, space, runtime, estimator, exporter and data set."""
    from hwnas.core.plugins import GROUPS, catalogue

    found = {group: catalogue(group) for group in GROUPS}
    if as_json:
        typer.echo(json.dumps({group: [vars(plugin) for plugin in plugins] for group, plugins in found.items()}))
        return
    for group, plugins in found.items():
        typer.echo(f"{group}:")
        for plugin in plugins:
            typer.echo(f"  {plugin.name:<18}{'' if plugin.available else f'needs: {plugin.needs}'}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Whether this machine can run and measure here, and what would make its measurements better."""
    from hwnas.run.doctor import examine

    health = examine()
    typer.echo(health.text())
    if as_json:
        typer.echo(json.dumps(health.facts()))
    health.raise_for_failure()


app.command()(verify)
app.command()(rebuild)
app.command()(measure)
app.command()(compare)
app.command()(calibrate)
app.command()(runs)
app.add_typer(table, name="table")


def _existing(run_dir: Path | None) -> Path | None:
    """A run directory named as an argument is there already; one named by --out may be new. Raises BadInput."""
    from hwnas.run.directory import stored_config

    if run_dir is not None:
        stored_config(run_dir)
    return run_dir


def _ignore(_: object) -> None:
    """For stages whose outcome is read from the run directory."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    guarded(lambda: _command_line(arguments))


def _command_line(arguments: list[str] | None) -> None:
    try:
        app(args=arguments)
    except SystemExit as leave:
        if leave.code == _INTERRUPTED:  # typer's word for Ctrl-C
            raise KeyboardInterrupt from None
        raise


def guarded(story: Callable[[], object]) -> None:
    """Users' mistakes end with a message and their exit code, never a traceback."""
    try:
        story()
    except HwnasError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(_INTERRUPTED)


_INTERRUPTED = 130


if __name__ == "__main__":
    main()
