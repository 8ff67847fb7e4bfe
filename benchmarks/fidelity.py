"""How true the latency model is.

    python benchmarks/fidelity.py --space mobile --networks 60
    python benchmarks/fidelity.py --space mobile --target openvino --networks 100 --fitted 80

Predicts networks that no fit has seen, half drawn uniformly, half spread evenly over the range of latencies; then
measures them whole, interleaved, twice. How much the two differ is the noise floor: no model does better.
The last line is a row for docs/results/fidelity.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.machine import cpu_name
from hwnas.core.plugins import load
from hwnas.core.seeds import derive, stream
from hwnas.core.target import load_target
from hwnas.deploy.measure import measure
from hwnas.latency.error import held_out_error
from hwnas.latency.graphs import network_graph
from hwnas.latency.model import LatencyModel
from hwnas.latency.networks import spread
from hwnas.latency.profiler import Profiler, ProfileSettings
from hwnas.run.result import versions
from hwnas.spaces import Space

DATA = {"mobile": (1, 10), "mobile-224": (3, 1000)}
"""Space → channels and classes: digits, and ImageNet."""

HEADINGS = (
    "space, target (networks)",
    "model",
    "within ±5 %",
    "within ±10 %",
    "mean error",
    "RMSE",
    "max error",
    "median bias",
    "Spearman",
    "under the 95 % bound",
    "noise floor: mean (max)",
    "profile",
)


def standard_space(name: str) -> Space:
    """Of `DATA`, with its own default settings."""
    plugin = load("spaces", name)
    channels, classes = DATA[name]
    return plugin(plugin.Settings(), channels=channels, classes=classes)


def unseen(model: LatencyModel, count: int, seed: int) -> list[Arch]:
    """`count` different networks that the calibration has not measured."""
    known = frozenset(n.arch for n in (*model.calibration.fitted, *model.calibration.held_out))
    found = set(spread(model.space, model.raw, count // 2, stream(seed, "fidelity spread"), avoid=known))
    rng = stream(seed, "fidelity uniform")
    while len(found) < count:
        found |= {model.space.random(rng)} - known
    return sorted(found)


def fidelity(
    space_name: str, target_name: str, folder: Path, count: int, seed: int, settings: ProfileSettings
) -> dict[str, Any]:
    space = standard_space(space_name)
    target = load_target(target_name)
    profiler = Profiler(target, folder, settings)
    model = LatencyModel(space, profiler.profile(space))

    archs = unseen(model, count, seed)
    graphs = {str(arch): network_graph(space, arch, profiler.runtime) for arch in archs}
    first, again = (measure(graphs, target, derive(seed, "fidelity", i), profiler.settings.protocol) for i in (1, 2))
    measured_ms, repeat_ms = (np.array([found[str(a)].median for a in archs]) for found in (first, again))
    predicted_ms = model.predict_many(np.array(archs))
    error = held_out_error(predicted_ms, measured_ms, repeat_ms)
    return {
        "space": space_name,
        "target": target.name,
        "form": model.calibration.form,
        **error.model_dump(),
        "rmse": float(np.mean((predicted_ms / measured_ms - 1) ** 2)) ** 0.5,
        "noise_max": float(np.abs(repeat_ms / measured_ms - 1).max()),
        "bias": float(np.median(predicted_ms / measured_ms - 1)),
        "bound_95": float((measured_ms <= predicted_ms * model.margin).mean()),
        "fastest_ms": float(measured_ms.min()),
        "slowest_ms": float(measured_ms.max()),
        "profile_seconds": profiler.spent,
        "device": cpu_name(),
        "versions": versions(),
        "pairs_ms": [list(pair) for pair in zip(predicted_ms.tolist(), measured_ms.tolist(), strict=True)],
    }


def text(f: dict[str, Any]) -> str:
    spent = f["profile_seconds"]
    how = "preparing {preparing:.0f} s, timing {timing:.0f} s".format(**spent) if any(spent.values()) else "done before"
    libraries = ", ".join(f"{name} {f['versions'][name]}" for name in ("onnxruntime", "torch", "hwnas"))
    lines = [
        f"{f['device']}; {libraries}; target {f['target']}",
        f"profile: {how}",
        f"{f['networks']} unseen networks of {f['space']}, {f['fastest_ms']:.3g}–{f['slowest_ms']:.3g} ms",
        "",
        f"| {' | '.join(HEADINGS)} |",
        "|---" * len(HEADINGS) + "|",
    ]
    cells = [
        f"{f['space']} on {f['target']} ({f['networks']})",
        f["form"],
        *(f"{100 * f[key]:.0f} %" for key in ("within_5", "within_10")),
        *(f"{100 * f[key]:.1f} %" for key in ("mean", "rmse", "max")),
        f"{100 * f['bias']:+.1f} %",
        f"{f['spearman']:.4f}",
        f"{100 * f['bound_95']:.0f} %",
        f"{100 * f['noise_floor']:.1f} % ({100 * f['noise_max']:.1f} %)",
        how,
    ]
    return "\n".join([*lines, f"| {' | '.join(cells)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=DATA, default="mobile")
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--tables", type=Path, default=Path("latency_tables"), help="folder of the latency tables")
    parser.add_argument("--fitted", type=int, default=ProfileSettings().fitted, help="networks that fit the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    arguments = parser.parse_args()
    settings = ProfileSettings(fitted=arguments.fitted)
    facts = fidelity(arguments.space, arguments.target, arguments.tables, arguments.networks, arguments.seed, settings)
    print(text(facts))
    if arguments.json:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
