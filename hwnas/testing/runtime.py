"""What every runtime must do: compile a small ONNX model, time it, and compute what torch computes."""

from pathlib import Path
from unittest import SkipTest

import numpy as np
import torch
from torch import nn

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes import Runtime

TOLERANCE = 1e-4
SHAPE = (16, 8, 8)


def check_identity(name: str, folder: Path) -> None:
    """Says what it is and what a time includes: that decides which tables are comparable."""
    runtime = _runtime(name)
    assert runtime.measures
    identity = runtime.identity()
    for key in ("device", "runtime", "runtime_version"):
        assert identity.get(key), f"identity() has no {key}"
    assert dict(identity) == dict(_runtime(name).identity()), "identity() differs from call to call"


def check_time(name: str, folder: Path) -> None:
    """Durations are positive integers in nanoseconds, and a hundred times the work takes longer."""
    small, large = (_runtime(name).load(_network(channels)[0]) for channels in (8, 128))
    medians = []
    for session in (small, large):
        times = [session.time_ns() for _ in range(30)]
        assert all(isinstance(t, int) and t > 0 for t in times), f"time_ns() gave {times[:3]}"
        assert max(times) < 10**10, "seconds for a tiny model: a wrong unit?"
        medians.append(np.median(times))
        session.close()
    assert medians[0] < medians[1], f"the larger model took {medians[1]:.0f} ns, the smaller {medians[0]:.0f} ns"


def check_infer(name: str, folder: Path) -> None:
    """The outputs are torch's, at batch 1 and at another one."""
    model, network = _network(16)
    session = _runtime(name).load(model)
    for batch in (1, 5):
        x = np.random.default_rng(batch).standard_normal((batch, 3, *SHAPE[1:]), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        got = session.infer(x)
        assert got.shape == expected.shape and got.dtype == np.float32
        assert np.abs(got - expected).max() <= TOLERANCE, f"differs by {np.abs(got - expected).max():.2g} at {batch}"
    session.close()


def check_refuses_garbage(name: str, folder: Path) -> None:
    """What is not a model is BadInput, not a traceback."""
    runtime = _runtime(name)
    model = _network(8)[0]
    for garbage in (b"", b"not a model", model[: len(model) // 2], bytes(1000)):
        try:
            runtime.load(garbage)
        except BadInput:
            continue
        raise AssertionError(f"{garbage[:12]!r}… was loaded as a model")


def _runtime(name: str) -> Runtime:
    try:
        return open_runtime(Target(name="conformance", runtime=name))
    except Unavailable as error:
        raise SkipTest(str(error)) from error


def _network(channels: int) -> tuple[bytes, nn.Module]:
    torch.manual_seed(0)
    shape = (channels, *SHAPE[1:])
    network = nn.Sequential(
        build(OpSpec.of("conv", (3, *SHAPE[1:]), out=channels, kernel=3, stride=1, act="relu6")),
        build(OpSpec.of("mbconv", shape, out=channels, kernel=3, stride=1, expand=6, act="relu6")),
        build(OpSpec.of("classifier", shape, classes=10)),
    ).eval()
    return onnx_graph.write(network, (3, *SHAPE[1:])), network
