"""Operators never timed: predicted from those that were, within a known interval, or refused. On known cost laws."""

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest

from hwnas.core.errors import BadInput
from hwnas.latency.table import Entry
from hwnas.latency.unmeasured import LEAST, Regressors
from hwnas.operators import build, cost, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.simulated import true_ns

Law = Callable[[OpSpec], float]


def blocks(resolution: int = 32, **settings) -> list[OpSpec]:
    space = Mobile(MobileSettings(resolution=resolution, **settings), channels=1, classes=10)
    return sorted({c.spec for c in space.operators() if c.spec.kind == "mbconv"}, key=str)


@cache
def simulated_ms(spec: OpSpec) -> float:
    """Piecewise: calls, elements and two prices of multiply-accumulates."""
    return true_ns(onnx.load_from_string(onnx_graph.write(build(spec), spec.input_shape))) / 1e6


def power_law_ms(spec: OpSpec) -> float:
    return 3e-7 * cost(spec)[2] ** 0.8


def timed(specs: list[OpSpec], law: Law, noise: float = 0.0, seed: int = 0) -> dict[str, Entry]:
    factors = np.random.default_rng(seed).lognormal(0, noise, len(specs))
    return {str(spec): entry(law(spec) * factor) for spec, factor in zip(specs, factors, strict=True)}


def entry(ms: float) -> Entry:
    return Entry(median_ms=ms, p10_ms=ms, p90_ms=ms, samples=72, rounds=12, stable=True, measured_at="2025-01-01")


def halves(specs: list[OpSpec], seed: int) -> tuple[list[OpSpec], list[OpSpec]]:
    order = np.random.default_rng(seed).permutation(len(specs))
    return [specs[i] for i in order[::2]], [specs[i] for i in order[1::2]]


@pytest.mark.parametrize(("law", "limit"), [(simulated_ms, 0.03), (power_law_ms, 0.005)])
def test_half_of_a_spaces_blocks_predict_the_other_half(law: Law, limit: float):
    errors, held = [], []
    for seed in range(2):
        known, unknown = halves(blocks(), seed)
        regressors = Regressors(timed(known, law))
        inside = [spec for spec in unknown if not regressors.refusal(spec)]
        assert len(inside) >= 0.8 * len(unknown)
        predictions = regressors.predict(inside)
        ratios = [law(spec) / predictions[str(spec)].median_ms for spec in inside]
        factors = [predictions[str(spec)].factor for spec in inside]
        errors += [abs(ratio - 1) for ratio in ratios]
        held += [1 / factor <= ratio <= factor for ratio, factor in zip(ratios, factors, strict=True)]
    assert np.mean(errors) <= limit
    assert np.mean(held) >= 0.65


def test_noise_of_the_measurements_widens_the_intervals():
    known, unknown = halves(blocks(), 0)
    factors = {}
    for noise in (0.0, 0.05):
        regressors = Regressors(timed(known, simulated_ms, noise))
        inside = [spec for spec in unknown if not regressors.refusal(spec)]
        factors[noise] = np.median([p.factor for p in regressors.predict(inside).values()])
    assert factors[0.0] < 1.05 < factors[0.05] < 1.3


def test_another_resolution_is_within_reach_and_told_to_be_less_sure():
    regressors = Regressors(timed(blocks(32), simulated_ms))
    larger = [spec for spec in blocks(48) if spec not in blocks(32)]
    predictions = regressors.predict(larger)
    errors = [abs(predictions[str(spec)].median_ms / simulated_ms(spec) - 1) for spec in larger]
    assert np.mean(errors) < 0.1
    near, _ = halves(blocks(32), 0)
    assert np.median([p.factor for p in predictions.values()]) > np.median(
        [p.factor for p in regressors.predict(near).values()]
    )


def block(channels: int, size: int, **attrs) -> OpSpec:
    usual = {"out": channels, "kernel": 3, "stride": 1, "expand": 6, "act": "relu6", "se": False}
    return OpSpec.of("mbconv", (channels, size, size), **(usual | attrs))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (OpSpec.of("conv", (16, 16, 16), out=24, kernel=3, stride=1, act="relu6"), "0 of kind 'conv'"),
        (block(16, 160), "times above"),
        (block(1600, 4), "times above"),
        (block(16, 16, act="hardswish"), "act=hardswish"),
        (block(16, 16, se=True), "se=true"),
        (block(16, 16, kernel=13), "kernel is 1.75 times above"),
        (block(16, 16, groups=2), "with these attributes"),
    ],
)
def test_what_is_out_of_range_is_refused(spec: OpSpec, why: str):
    regressors = Regressors(timed(blocks(), simulated_ms))
    with pytest.raises(BadInput, match=why) as error:
        regressors.predict([spec])
    assert "most_operators" in error.value.mend


def test_an_amount_that_never_varied_is_not_extrapolated():
    convs = [
        OpSpec.of("conv", (channels, 16, 16), out=out, kernel=3, stride=1, act="relu")
        for channels in (4, 8, 16)
        for out in (8, 16, 32)
    ]
    regressors = Regressors(timed(convs, power_law_ms))
    assert regressors.refusal(OpSpec.of("conv", (8, 16, 16), out=24, kernel=3, stride=1, act="relu")) == ""
    assert "kernel" in regressors.refusal(OpSpec.of("conv", (8, 16, 16), out=24, kernel=5, stride=1, act="relu"))


def test_too_few_of_a_kind_predict_nothing():
    specs = blocks()
    assert Regressors(timed(specs[: LEAST - 1], simulated_ms)).of(specs[0]) is None
    assert Regressors(timed(specs[:LEAST], simulated_ms)).of(specs[0]) is not None


def test_a_predicted_entry_says_so_and_teaches_nothing():
    known, unknown = halves(blocks(), 0)
    regressors = Regressors(timed(known, simulated_ms))
    inside = [spec for spec in unknown if not regressors.refusal(spec)]
    entries = regressors.entries_of(inside)
    for found in entries.values():
        assert found.predicted and found.samples == found.rounds == 0 and not found.stable and not found.unstable
        assert found.p10_ms < found.median_ms < found.p90_ms
        assert found.measured_at == "2025-01-01"
    again = Regressors(timed(known, simulated_ms) | entries)
    assert again.entries.keys() == {str(spec) for spec in known}
    assert again.entries_of(inside) == entries
