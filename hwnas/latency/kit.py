"""The offline kit: what a profile would time, as an archive that runs anywhere and needs only that device's runtime."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput
from hwnas.core.files import storage_failed
from hwnas.core.progress import Progress
from hwnas.core.target import Target
from hwnas.devices.aboard import sources
from hwnas.devices.recorded import Recorded
from hwnas.latency.additive import Additive
from hwnas.latency.graphs import network_graph, operator_graph
from hwnas.latency.model import space_key
from hwnas.latency.networks import fitted_and_held_out
from hwnas.latency.profiler import ProfileSettings, network_key, specs_of
from hwnas.operators import cost
from hwnas.runtimes import Runtime
from hwnas.spaces import Space

FORMAT = 1
_PATTERN_BYTES = 4096

_README = """\
hwnas kit: times {count} graphs on the device '{name}' ({runtime}, {precision}).
It needs Python 3.8 or newer and the package of that runtime; nothing else, and no network.
Close what else runs, then: python worker.py
Interrupted, the same command goes on with the next turn.
Then take results.json home: hwnas profile --import results.json, with the flags that --pack had.
"""


class Graph(NamedTuple):
    """One to time. A held-out network is timed in two groups, from one file."""

    key: str
    group: str
    file: str
    write: Callable[[Runtime], bytes]


def networks_to_time(space: Space, settings: ProfileSettings) -> tuple[list[Arch], list[Arch]]:
    """Chosen before any operator was timed, so spread from few to many multiply-accumulates."""
    macs = Additive(space, np.array([cost(c.spec)[2] for c in space.operators()]) / 1e6)
    return fitted_and_held_out(space, macs, settings.fitted, settings.held_out, settings.seed)


def graphs_of(space: Space, settings: ProfileSettings) -> list[Graph]:
    found = [
        Graph(str(spec), "operators", f"operator{number:04}", lambda runtime, spec=spec: operator_graph(spec, runtime))
        for number, spec in enumerate(specs_of(space))
    ]
    fitted, held_out = networks_to_time(space, settings)
    numbers = {arch: number for number, arch in enumerate(fitted + held_out)}
    for group, attempt, archs in (("networks", "1", fitted + held_out), ("repeats", "2", held_out)):
        found += [
            Graph(
                network_key(space, arch, attempt),
                group,
                f"network{numbers[arch]:04}",
                lambda runtime, arch=arch: network_graph(space, arch, runtime),
            )
            for arch in archs
        ]
    return found


def plan_of(graphs: list[Graph], space: Space, target: Target, settings: ProfileSettings) -> bytes:
    """plan.json: the same whenever the arguments are, so that an import knows the results of its own kit."""
    plan: dict[str, Any] = {
        "format": FORMAT,
        "target": target.model_dump(include={"name", "runtime", "provider", "precision", "threads", "batch"}),
        "space": space_key(space),
        "protocol": settings.protocol.model_dump(),
        "seed": settings.seed,
        "graphs": [{"key": graph.key, "group": graph.group, "file": graph.file} for graph in graphs],
    }
    return (json.dumps(plan, indent=1, sort_keys=True) + "\n").encode()


def pack(space: Space, target: Target, settings: ProfileSettings, path: Path) -> int:
    """Write the kit; returns how many graphs it times. Equal arguments give equal bytes; a name in .xz is compressed.

    Raises BadInput for a target that is reached from here, StorageFailed.
    """
    if target.host:
        raise BadInput(f"target '{target.name}' is reached at {target.host}", "profile it from here, without a kit")
    if target.options:
        raise BadInput(f"target '{target.name}' has options, which a kit cannot carry out", "profile it on the device")
    graphs = graphs_of(space, settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".kit") as folder:
            part = Path(folder) / "kit"
            with tarfile.open(part, "w:xz", preset=1) if path.suffix == ".xz" else tarfile.open(part, "w") as tar:
                sums = ""
                for name, content in _files(graphs, plan_of(graphs, space, target, settings), target):
                    _add(tar, name, content)
                    sums += f"{hashlib.sha256(content).hexdigest()}  {name}\n"
                _add(tar, "SHA256SUMS", sums.encode())
            part.replace(path)
    except OSError as error:
        storage_failed(path, error)
    return len(graphs)


def _files(graphs: list[Graph], plan: bytes, target: Target) -> Iterator[tuple[str, bytes]]:
    runtime, written = Recorded(target), set()
    yield "README.txt", _README.format(count=len(graphs), **target.model_dump()).encode()
    yield "plan.json", plan
    yield from sources(target.runtime, "worker.py").items()
    with Progress("pack", len(graphs)) as progress:
        for graph in graphs:
            if graph.file not in written:
                yield graph.file, runtime.portable(_model(graph, runtime))
            written.add(graph.file)
            progress.advance()


def _model(graph: Graph, runtime: Runtime) -> bytes:
    """The same weights each time, and each large tensor one short pattern over and over: that compresses, and a latency
    does not depend on it.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = onnx.load_from_string(graph.write(runtime))
    for tensor in model.graph.initializer:
        whole = tensor.raw_data
        if len(whole) > _PATTERN_BYTES:
            tensor.raw_data = (whole[:_PATTERN_BYTES] * (len(whole) // _PATTERN_BYTES + 1))[: len(whole)]
    return model.SerializeToString(deterministic=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # no times, no owners: equal kits have equal bytes
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))
