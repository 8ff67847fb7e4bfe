"""What every runtime must do in every precision it has: compile a small ONNX model, time it, compute as torch does."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from unittest import SkipTest

import numpy as np
import torch
from torch import nn

from hwnas.core.config import validate
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.plugins import load
from hwnas.core.target import Precision, Target
from hwnas.devices import open_runtime
from hwnas.formats.precision import in_precision
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes import Runtime

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.1}
"""Largest |difference| of all outputs together, relative to torch's: ‖got − torch‖ / ‖torch‖. Rounding a network of six
layers to int8 costs 1 to 3 %; another network is off by 100 % and more."""
SHAPE = (16, 8, 8)
_SAMPLES = np.random.default_rng(7).standard_normal((64, 3, *SHAPE[1:]), dtype=np.float32)


def check_identity(name: str, folder: Path) -> None:
    """Says what it is and what a time includes: that decides which tables are comparable."""
    for runtime in _runtimes(name):
        assert runtime.measures
        identity = runtime.identity()
        for key in ("device", "runtime", "runtime_version"):
            assert identity.get(key), f"identity() has no {key}"
        again = open_runtime(runtime.target).identity()
        assert dict(identity) == dict(again), "identity() differs from call to call"


def check_time(name: str, folder: Path) -> None:
    """Durations are positive integers in nanoseconds, and a hundred times the work takes longer."""
    for runtime in _runtimes(name):
        small, large = (runtime.load(_network(channels, runtime)[0]) for channels in (8, 128))
        medians = []
        for session in (small, large):
            times = [session.time_ns() for _ in range(30)]
            assert all(isinstance(t, int) and t > 0 for t in times), f"time_ns() gave {times[:3]}"
            assert max(times) < 10**10, "seconds for a tiny model: a wrong unit?"
            medians.append(np.median(times))
            session.close()
        assert medians[0] < medians[1], f"the larger model took {medians[1]:.0f} ns, the smaller {medians[0]:.0f} ns"


def check_infer(name: str, folder: Path) -> None:
    """The outputs are torch's, at batch 1 and at another one, as exactly as the precision allows."""
    for runtime in _runtimes(name):
        precision = runtime.target.precision
        model, network = _network(16, runtime)
        session = runtime.load(model)
        for batch in (1, 5):
            x = _SAMPLES[:batch]
            with torch.no_grad():
                expected = network(torch.from_numpy(x)).numpy()
            got = session.infer(x)
            assert got.shape == expected.shape and got.dtype == np.float32
            off = np.linalg.norm(got - expected) / np.linalg.norm(expected)
            assert off <= TOLERANCE[precision], f"{precision} differs by {off:.2g} at batch {batch}"
        session.close()


def check_refuses_garbage(name: str, folder: Path) -> None:
    """What is not a model is BadInput, not a traceback."""
    for runtime in _runtimes(name):
        model = _network(8, runtime)[0]
        for garbage in (b"", b"not a model", model[: len(model) // 2], bytes(1000)):
            try:
                runtime.load(garbage)
            except BadInput:
                continue
            raise AssertionError(f"{garbage[:12]!r}… was loaded as a model")


def check_refuses_other_precisions(name: str, folder: Path) -> None:
    """A precision that it does not run is Unavailable, and the mend names those that it does."""
    for runtime in _runtimes(name):
        for precision in set(get_args(Precision)) - set(runtime.precisions):
            try:
                open_runtime(_target(name, precision))
            except Unavailable as error:
                assert all(known in error.mend for known in runtime.precisions), f"the mend is '{error.mend}'"
                continue
            raise AssertionError(f"{precision} is none of its precisions, and was accepted")


def check_options(name: str, folder: Path) -> None:
    """A profile may leave all options out; one that there is not is BadInput."""
    plugin, (runtime, *_) = load("runtimes", name), _runtimes(name)
    validate(plugin.Options, {}, "options")
    target = runtime.target.model_copy(update={"options": {"no_such_option": 1}})
    try:
        open_runtime(target)
    except BadInput as error:
        assert "no_such_option" in str(error)
        return
    raise AssertionError("the option no_such_option was accepted")


def _runtimes(name: str) -> Iterator[Runtime]:
    """One a precision, of those that run here. Raises SkipTest when none does."""
    missing, found = [], False
    for precision in load("runtimes", name).precisions:
        try:
            yield open_runtime(_target(name, precision))
            found = True
        except Unavailable as error:
            missing.append(str(error))
    if not found:
        raise SkipTest("; ".join(missing))


def _target(name: str, precision: Precision) -> Target:
    return Target(name="conformance", runtime=name, precision=precision)


def _network(channels: int, runtime: Runtime) -> tuple[bytes, nn.Module]:
    """In the runtime's precision, and as torch computes it."""
    torch.manual_seed(0)
    shape = (channels, *SHAPE[1:])
    network = nn.Sequential(
        build(OpSpec.of("conv", (3, *SHAPE[1:]), out=channels, kernel=3, stride=1, act="relu6")),
        build(OpSpec.of("mbconv", shape, out=channels, kernel=3, stride=1, expand=6, act="relu6")),
        build(OpSpec.of("classifier", shape, classes=10)),
    ).eval()
    exact = onnx_graph.write(network, (3, *SHAPE[1:]))
    return in_precision(exact, runtime.target.precision, runtime.int8_form, _SAMPLES), network
