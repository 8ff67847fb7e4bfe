"""On a CUDA device: what the runtimes compute and how they time it."""

from time import perf_counter_ns

import numpy as np
import pytest
import torch

from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.formats.precision import in_precision
from hwnas.latency.graphs import operator_graph
from hwnas.operators import onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes import Session
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.space import perturbed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

LARGE = OpSpec.of("mbconv", (64, 112, 112), out=64, kernel=3, stride=1, expand=6, act="relu6")
SMALL = OpSpec.of("mbconv", (16, 8, 8), out=16, kernel=3, stride=1, expand=3, act="relu6")


def target(precision: str = "fp32", batch: int = 1, **options: bool) -> Target:
    fields = {"precision": precision, "batch": batch, "options": options}
    return Target.model_validate({"name": "mine", "runtime": "torch", "provider": "cuda"} | fields)


def session(spec: OpSpec, wanted: Target) -> Session:
    runtime = open_runtime(wanted)
    torch.manual_seed(0)
    return runtime.load(operator_graph(spec, runtime))


def median_ns(timed: Session, count: int = 200) -> float:
    return float(np.median([timed.time_ns() for _ in range(count)]))


@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 1e-2)])
def test_whole_networks_compute_what_the_cpu_does(
    precision: str, tolerance: float, graph: bool, channels_last: bool
) -> None:
    """fp32 without TF32: with it, the error would be some 1e-3."""
    space = Mobile(MobileSettings(squeeze_excite=True, activation="hardswish"), channels=3, classes=10)
    torch.manual_seed(0)
    network = perturbed(space.build(space.reference())).eval()
    x = torch.randn(7, *space.input_shape)
    model = in_precision(onnx_graph.write(network, space.input_shape), precision, "u8s8", x.numpy())  # type: ignore[arg-type]
    runtime = open_runtime(target(precision, batch=4, graph=graph, channels_last=channels_last))
    got = runtime.load(model).infer(x.numpy())
    with torch.no_grad():
        expected = network(x).numpy()
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) <= tolerance


def test_a_replayed_graph_answers_each_input_anew() -> None:
    x = np.random.default_rng(0).standard_normal((3, *SMALL.input_shape), dtype=np.float32)
    replayed, eager = (session(SMALL, target(graph=graph)) for graph in (True, False))
    for _ in range(3):
        assert np.allclose(replayed.infer(x), eager.infer(x), atol=1e-5)
        x = x[::-1] + 1
    assert not np.allclose(replayed.infer(x)[0], replayed.infer(x)[1])


def test_graphs_that_share_their_memory_do_not_disturb_each_other() -> None:
    x = np.random.default_rng(0).standard_normal((2, *SMALL.input_shape), dtype=np.float32)
    first = session(SMALL, target())
    before = first.infer(x)
    others = [session(LARGE, target()) for _ in range(3)]
    for other in others:
        other.time_ns()
    assert np.array_equal(first.infer(x), before)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_events_agree_with_the_clock(graph: bool) -> None:
    """Where the GPU works for long, launching and waiting hardly count."""
    timed, runs = session(LARGE, target(batch=64, graph=graph)), 50
    timed.turn_ns(5, 0, 5)
    start = perf_counter_ns()
    inside = sum(timed.time_ns() for _ in range(runs))
    outside = perf_counter_ns() - start
    assert 0.7 * outside < inside <= outside


def test_a_graph_spares_a_small_network_its_launches() -> None:
    replayed, eager = (median_ns(session(SMALL, target(graph=graph))) for graph in (True, False))
    assert replayed < eager


def test_times_grow_with_the_work() -> None:
    one, many = (median_ns(session(LARGE, target(batch=batch))) for batch in (1, 64))
    assert 4 * one < many


def test_times_repeat() -> None:
    """Two sessions of one graph, as two profiles would have them."""
    first, again = (median_ns(session(LARGE, target(batch=8))) for _ in range(2))
    assert abs(again / first - 1) < 0.1


def test_half_precision_is_faster_where_the_gpu_is_busy() -> None:
    full, half = (
        median_ns(session(LARGE, target(precision, batch=64, channels_last=True))) for precision in ("fp32", "fp16")
    )
    assert half < full


def test_the_identity_names_the_gpu() -> None:
    identity = open_runtime(target()).identity()
    assert identity["device"] == torch.cuda.get_device_name()
    assert identity["cuda"] == torch.version.cuda
    assert "CUDA events" in open_runtime(target()).measures
