"""The verbs of `hwnas table`: one function a verb, no logic."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hwnas.core.progress import warn

table = typer.Typer(no_args_is_help=True, help="Latency tables.", rich_markup_mode=None)

Flag = typer.Option
Json = Annotated[bool, Flag("--json", help="The last line on stdout is one JSON object.")]
Named = Annotated[str, typer.Argument(help="A target's name, or the path of a table.")]


@table.command()
def show(target: Named = "cpu", as_json: Json = False) -> None:
    """A target's table: operators, their times, and the model's held-out error."""
    from hwnas.latency.install import table_path
    from hwnas.latency.table import load_table

    found = load_table(table_path(target))
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json") | {"sha256": found.content_sha256()}))
        return
    for key, entry in sorted(found.entries.items(), key=lambda item: -item[1].median_ms):
        mark = "predicted " if entry.predicted else "unstable " if entry.unstable else ""
        spread = "" if found.imported else f"p90 {entry.p90_ms:10.4f}  {mark}"
        typer.echo(f"{entry.median_ms:10.4f} ms  {spread}{key}")
    if found.imported:
        typer.echo(f"{found.origin}; {found.imported.dropped} impossible times dropped")
    for key, calibration in found.calibration.items():
        error = calibration.error
        typer.echo(
            f"{key}: mean error {100 * error.mean:.1f} % on {error.networks} held-out networks "
            f"(noise floor {100 * error.noise_floor:.1f} %)"
        )


@table.command()
def diff(a: Named, b: Named, as_json: Json = False) -> None:
    """What only one of two tables holds, and how far apart the times of the rest are."""
    from hwnas.latency.compare import compare
    from hwnas.latency.install import table_path
    from hwnas.latency.table import load_table

    found = compare(load_table(table_path(a)), load_table(table_path(b)))
    typer.echo(found.text())
    if as_json:
        typer.echo(json.dumps({"a": a, "b": b} | found.facts()))


@table.command()
def merge(
    a: Named,
    b: Named,
    out: Annotated[Path, Flag("--out", "-o", help="The merged table's file.")],
    as_json: Json = False,
) -> None:
    """Join two tables of one device, measured by one protocol."""
    from hwnas.latency.install import table_path
    from hwnas.latency.merge import merge as join
    from hwnas.latency.table import load_table

    merged = join(load_table(table_path(a)), load_table(table_path(b)))
    merged.table.save(out)
    sides = list(merged.taken.values())
    typer.echo(
        f"{out}: {len(merged.table.entries)} operators; of {len(sides)} measured twice, {sides.count('a')} taken from "
        f"{a} and {sides.count('b')} from {b} (more samples, or newer)"
    )
    for space in merged.dropped:
        warn(f"the calibration of {space} no longer holds and was dropped: hwnas profile measures it again")
    if as_json:
        typer.echo(json.dumps({"table": str(out), "taken": merged.taken, "dropped_calibrations": merged.dropped}))


@table.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="The published table.")],
    format_: Annotated[str, Flag("--format", help="fbnet, hw-nas-bench, once-for-all, proxylessnas or tf-nas.")],
    unit: Annotated[str, Flag(help="ms or us, as its authors say. Never guessed.")],
    name: Annotated[str, Flag("--as", help="The target's name here.")],
    device: Annotated[str, Flag(help="Whose times they are; where the file holds several devices, which.")] = "",
    drop_impossible: Annotated[bool, Flag("--drop-impossible", help="Leave out times that cannot be.")] = False,
    as_json: Json = False,
) -> None:
    """Read a published look-up table; searches on it say that nothing was measured here."""
    from hwnas.latency.imports import import_table
    from hwnas.latency.install import install

    found = import_table(file, format_, unit, name, device, drop_impossible)
    paths = install(found)
    assert found.imported is not None
    typer.echo(
        f"{paths.table}: {len(found.entries)} operators from {file} ({format_}, {unit}), {found.imported.dropped} "
        f"impossible times dropped; {paths.profile}: the target '{name}'"
    )
    if as_json:
        facts = {"table": str(paths.table), "profile": str(paths.profile), "operators": len(found.entries)}
        typer.echo(json.dumps(facts | found.imported.model_dump(mode="json")))
