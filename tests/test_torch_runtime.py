"""The runtimes `torch`, `tensorrt` and their parts, as far as they go without a GPU."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.target import Target, load_target
from hwnas.devices import open_runtime
from hwnas.latency.graphs import operator_graph
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes._slices import in_slices

BLOCK = OpSpec.of("mbconv", (16, 8, 8), out=16, kernel=3, stride=1, expand=6, act="relu6", se=True)
X = np.random.default_rng(0).standard_normal((5, *BLOCK.input_shape), dtype=np.float32)


def target(**fields: object) -> Target:
    return Target.model_validate({"name": "mine", "runtime": "torch"} | fields)


def test_timing_leaves_the_threads_of_training_alone() -> None:
    before = torch.get_num_threads()
    runtime = open_runtime(target(threads=before + 1))
    session = runtime.load(operator_graph(BLOCK, runtime))
    session.time_ns()
    session.infer(X)
    assert torch.get_num_threads() == before


def test_channels_last_computes_the_same() -> None:
    results = []
    for channels_last in (False, True):
        runtime = open_runtime(target(options={"channels_last": channels_last}))
        torch.manual_seed(0)
        results.append(runtime.load(operator_graph(BLOCK, runtime)).infer(X))
    assert np.abs(results[0] - results[1]).max() < 1e-5


@pytest.mark.parametrize("x", [X[:, :8], X.astype(np.float64), X[0]], ids=["channels", "double", "no batch"])
def test_other_inputs_are_refused(x: np.ndarray) -> None:
    runtime = open_runtime(target())
    with pytest.raises(BadInput, match="float32"):
        runtime.load(operator_graph(BLOCK, runtime)).infer(x)


def test_an_unknown_provider_is_bad_input() -> None:
    with pytest.raises(BadInput, match="metal"):
        open_runtime(target(provider="metal"))


def test_half_precision_on_the_cpu_is_refused() -> None:
    with pytest.raises(Unavailable, match="fp16"):
        open_runtime(target(precision="fp16"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["gpu-torch", "gpu-torch-fp16", "tensorrt-fp32", "tensorrt-fp16", "tensorrt-int8"])
def test_without_a_gpu_they_are_unavailable(name: str) -> None:
    with pytest.raises(Unavailable) as refusal:
        open_runtime(load_target(name))
    assert "GPU" in str(refusal.value) or "install" in refusal.value.mend


@given(batch=st.integers(1, 5), count=st.integers(1, 12))
def test_any_batch_goes_through_a_fixed_one(batch: int, count: int) -> None:
    calls = []

    def double(part: np.ndarray) -> np.ndarray:
        assert part.shape == (batch, 2, 3)
        calls.append(part)
        return 2 * part

    x = np.random.default_rng(count).standard_normal((count, 2, 3), dtype=np.float32)
    assert np.array_equal(in_slices(x, (batch, 2, 3), double), 2 * x)
    assert len(calls) == -(-count // batch)
