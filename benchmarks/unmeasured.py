"""How well unmeasured operators are predicted: `python benchmarks/unmeasured.py --space mobile`.

Of the space's operators, profiled where the table lacks them, half are kept at random and predict the other half; ten
times. Those out of range are refused, and counted. The last line is a row for docs/results/unmeasured.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from fidelity import DATA, standard_space

from hwnas.core.machine import cpu_name
from hwnas.core.seeds import numpy_stream
from hwnas.core.target import load_target
from hwnas.latency.profiler import Profiler, specs_of
from hwnas.latency.unmeasured import Regressors

_HALVES = 10
HEADINGS = (
    "space, target",
    "operators",
    "mean error",
    "median",
    "90 % below",
    "largest",
    "in the 80 % interval",
    "refused",
)


def judge(space_name: str, target_name: str, folder: Path, seed: int) -> dict[str, Any]:
    space = standard_space(space_name)
    table = Profiler(load_target(target_name), folder).profile(space)
    specs = specs_of(space)
    errors, held, refused, asked = [], [], 0, 0
    for number in range(_HALVES):
        order = numpy_stream(seed, "halves", number).permutation(len(specs))
        known, unknown = ([specs[i] for i in half] for half in np.array_split(order, 2))
        regressors = Regressors({str(spec): table.entries[str(spec)] for spec in known})
        inside = [spec for spec in unknown if not regressors.refusal(spec)]
        refused, asked = refused + len(unknown) - len(inside), asked + len(unknown)
        for key, prediction in regressors.predict(inside).items():
            ratio = prediction.median_ms / table.entries[key].median_ms
            errors.append(abs(ratio - 1))
            held.append(1 / prediction.factor <= ratio <= prediction.factor)
    return {
        "space": space_name,
        "target": target_name,
        "operators": len(specs),
        "mean": float(np.mean(errors)),
        "median": float(np.median(errors)),
        "p90": float(np.quantile(errors, 0.9)),
        "max": float(np.max(errors)),
        "held_80": float(np.mean(held)),
        "refused": refused / asked,
        "device": cpu_name(),
    }


def text(f: dict[str, Any]) -> str:
    cells = [
        f"{f['space']}, {f['target']}",
        str(f["operators"]),
        *(f"{100 * f[key]:.1f} %" for key in ("mean", "median", "p90", "max")),
        *(f"{100 * f[key]:.0f} %" for key in ("held_80", "refused")),
    ]
    lines = [f["device"], "", f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|", f"| {' | '.join(cells)} |"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=DATA, default="mobile")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--tables", type=Path, default=Path("latency_tables"), help="folder of the latency tables")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    arguments = parser.parse_args()
    facts = judge(arguments.space, arguments.target, arguments.tables, arguments.seed)
    print(text(facts))
    if arguments.json:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
