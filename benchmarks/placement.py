"""Does it matter what a process timed before? The same networks, timed in fresh processes and in ones that had timed
(and freed) every operator of the space before. The answer is why a profile gives each of its parts a new process.

    OMP_NUM_THREADS=1 python benchmarks/placement.py --target litert-int8 --repeats 4

Every run is a process of its own, the two kinds in turn. Level: a run's median difference from the mean of the fresh
runs; scatter: the standard deviation of its networks around that level.
"""

import argparse
import json
import subprocess
import sys
from random import Random

import numpy as np
from fidelity import DATA, standard_space

from hwnas.core.machine import cpu_name
from hwnas.core.target import load_target
from hwnas.devices import open_runtime
from hwnas.latency.graphs import network_graph, operator_graph
from hwnas.latency.profiler import specs_of
from hwnas.latency.protocol import Protocol
from hwnas.latency.statistics import Timing
from hwnas.latency.timing import Measuring
from hwnas.runtimes import Runtime

KINDS = ("fresh", "after operators")


def once(space_name: str, target_name: str, kind: str, networks: int) -> dict[str, float]:
    """Network → median ms, timed in this process."""
    space = standard_space(space_name)
    runtime, rng = open_runtime(load_target(target_name)), Random(0)
    if kind != "fresh":
        timed({str(spec): operator_graph(spec, runtime) for spec in specs_of(space)}, runtime)
    archs = sorted({space.random(rng) for _ in range(networks)})
    timings = timed({str(arch): network_graph(space, arch, runtime) for arch in archs}, runtime)
    return {name: timing.median_ms for name, timing in timings.items()}


def timed(graphs: dict[str, bytes], runtime: Runtime) -> dict[str, Timing]:
    """As a profile does, but here."""
    sessions = {name: runtime.load(graph) for name, graph in graphs.items()}
    timings = Measuring(sessions, Protocol(), Random(1)).run("placement")
    for session in sessions.values():
        session.close()
    return timings


def in_a_process(options: argparse.Namespace, kind: str) -> np.ndarray:
    """Logarithms of the medians, in one order."""
    command = [sys.executable, __file__, "--space", options.space, "--target", options.target, "--once", kind]
    command += ["--networks", str(options.networks)]
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    found = json.loads(said.splitlines()[-1])
    return np.log([found[name] for name in sorted(found)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=DATA, default="mobile")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--once", choices=KINDS, help="one run, in this process")
    options = parser.parse_args()
    if options.once:
        return print(json.dumps(once(options.space, options.target, options.once, options.networks)))
    runs = [(kind, in_a_process(options, kind)) for _ in range(options.repeats) for kind in KINDS]
    usual = np.mean([times for kind, times in runs if kind == "fresh"], axis=0)
    print(f"{cpu_name()}, {options.space} on {options.target}, {options.networks} networks\n")
    print("| process | level | scatter | largest |\n|---|---|---|---|")
    for kind, times in sorted(runs, key=lambda run: KINDS.index(run[0])):
        apart = times - usual
        level, largest = np.median(apart), np.abs(apart - np.median(apart)).max()
        print(f"| {kind} | {100 * level:+.1f} % | {100 * (apart - level).std():.1f} % | {100 * largest:.1f} % |")
    return None


if __name__ == "__main__":
    main()
