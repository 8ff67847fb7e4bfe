"""The options that several verbs have."""

from pathlib import Path
from typing import Annotated, Optional

import typer

Flag = typer.Option
Target = Annotated[Optional[str], Flag(help="A target's name, or the path of its YAML profile. Default: cpu.")]
Targets = Annotated[
    Optional[list[str]], Flag("--target", help="As of profile. Repeat it for one network that fits several.")
]
Precision = Annotated[
    Optional[str], Flag(help="fp32, fp16, int8: the target's profile in it; auto: search each, ship the best.")
]
Space = Annotated[Optional[str], Flag(help="The search space. Default: mobile.")]
Strategy = Annotated[Optional[str], Flag(help="The search method. Default: proxyless.")]
DataName = Annotated[Optional[str], Flag("--data", help="The data set. Default: digits.")]
DataDir = Annotated[Optional[Path], Flag(help="The data set's folder.")]
BudgetText = Annotated[
    Optional[str], Flag("--budget", help="12ms, 12ms@p90, or 60% of the reference (default); of several: a=3ms,b=8ms.")
]
Seed = Annotated[Optional[int], Flag(help="Equal seeds give equal searches. Default: 0.")]
Out = Annotated[Optional[Path], Flag(help="The run directory. The same command resumes it.")]
ConfigFile = Annotated[Optional[Path], Flag("--config", help="Settings from a YAML file; flags override it.")]
Set = Annotated[Optional[list[str]], Flag("--set", help="Any setting, e.g. --set search.epochs=50. Repeatable.")]
DryRun = Annotated[bool, Flag("--dry-run", help="Say what would be done, and stop.")]
Json = Annotated[bool, Flag("--json", help="The last line on stdout is one JSON object.")]
Quiet = Annotated[bool, Flag("--quiet", help="No progress on stderr.")]
Workers = Annotated[
    Optional[int], Flag("--workers", min=1, help="Candidates judged at a time, each by a process of its own.")
]
Mismatch = Annotated[bool, Flag("--allow-mismatch", help="Use another device's table; the bundle records it.")]


def several(given: list[str] | None) -> list[str]:
    """The values of an option that may be repeated, or hold several with commas between them."""
    return [name.strip() for text in given or () for name in text.split(",")]
