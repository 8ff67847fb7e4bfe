"""Does a profile repeat? `python benchmarks/repeatability.py --space mobile --pause 3600`, and again with `--load`.

Profiles the same space twice, `--pause` seconds apart, and compares the operators' medians. With `--load` a process
spins on another core throughout the second profile (for targets of one thread). An entry is trusted when neither
profile flagged it as unstable; the aim is that at least 90 % are, and that at most 1 % are trusted and differ by more
than 5 %. The last line is a row for docs/results/repeatability.md.
"""

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

import numpy as np
from fidelity import DATA, standard_space

from hwnas.core.machine import cpu_name
from hwnas.core.target import load_target
from hwnas.latency.profiler import Profiler, ProfileSettings
from hwnas.latency.table import LatencyTable
from hwnas.spaces import Space

HEADINGS = (
    "space, target",
    "pause",
    "load",
    "entries",
    "unflagged, first and second",
    "off by > 5 %",
    "unflagged and off by > 5 %",
    "largest unflagged difference",
    "all together",
)


def profile(space: Space, target_name: str) -> LatencyTable:
    """Afresh, in a folder of its own; as few whole networks as can be, since only operators are compared."""
    with TemporaryDirectory() as folder:
        settings = ProfileSettings(fitted=8, held_out=4)
        return Profiler(load_target(target_name), Path(folder), settings).profile(space)


@contextmanager
def load_on_another_core() -> Iterator[None]:
    """This process stays on its first core; a second one keeps another busy."""
    mine = min(os.sched_getaffinity(0))
    others = set(range(os.cpu_count() or 1)) - {mine}
    if not others:
        raise SystemExit("--load needs a second core")
    os.sched_setaffinity(0, {mine})
    spinning = get_context("spawn").Process(target=spin, args=(max(others),), daemon=True)
    spinning.start()
    try:
        yield
    finally:
        spinning.terminate()
        spinning.join()


def spin(core: int) -> None:
    """Through 32 MB, so that it competes for the shared cache and the memory as well."""
    os.sched_setaffinity(0, {core})
    block = np.ones(4_000_000)
    while True:
        block = np.sqrt(block + 1.0)


def compare(first: LatencyTable, second: LatencyTable) -> dict[str, Any]:
    """Shares and relative differences (second / first − 1) of the entries."""
    keys = sorted(first.entries)
    unflagged = [np.array([t.entries[key].stable for key in keys]) for t in (first, second)]
    both = unflagged[0] & unflagged[1]
    ratio = np.array([second.entries[key].median_ms / first.entries[key].median_ms for key in keys])
    off = np.abs(ratio - 1) > 0.05
    return {
        "entries": len(keys),
        "unflagged": [float(u.mean()) for u in unflagged],
        "off": float(off.mean()),
        "unflagged_and_off": float((both & off).mean()),
        "largest_unflagged": float(np.abs(ratio[both] - 1).max(initial=0.0)),
        "level": float(np.median(ratio) - 1),
        "drift": [first.drift, second.drift],
        "met": bool(min(u.mean() for u in unflagged) >= 0.9 and (both & off).mean() <= 0.01),
    }


def text(f: dict[str, Any]) -> str:
    cells = [
        f"{f['space']}, {f['target']}",
        f"{f['pause_seconds']:.0f} s",
        "second profile" if f["load"] else "none",
        str(f["entries"]),
        " and ".join(f"{100 * share:.0f} %" for share in f["unflagged"]),
        f"{100 * f['off']:.1f} %",
        f"{100 * f['unflagged_and_off']:.1f} %",
        f"{100 * f['largest_unflagged']:.1f} %",
        f"{100 * f['level']:+.1f} %",
    ]
    drifts = " and ".join(f"{100 * drift:+.1f} %" for drift in f["drift"])
    lines = [
        f"{f['device']}; drift {drifts}",
        f"aim (≥ 90 % unflagged, ≤ 1 % unflagged and off): {'met' if f['met'] else 'NOT met'}",
        "",
        f"| {' | '.join(HEADINGS)} |",
        "|---" * len(HEADINGS) + "|",
    ]
    return "\n".join([*lines, f"| {' | '.join(cells)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=DATA, default="mobile")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--pause", type=float, default=300.0, help="seconds between the two profiles")
    parser.add_argument("--load", action="store_true", help="a process spins on another core during the second")
    parser.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    arguments = parser.parse_args()
    space = standard_space(arguments.space)
    first = profile(space, arguments.target)
    sleep(arguments.pause)
    if arguments.load:
        with load_on_another_core():
            second = profile(space, arguments.target)
    else:
        second = profile(space, arguments.target)
    facts = compare(first, second) | {
        "space": arguments.space,
        "target": arguments.target,
        "pause_seconds": arguments.pause,
        "load": arguments.load,
        "device": cpu_name(),
    }
    print(text(facts))
    if arguments.json:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
