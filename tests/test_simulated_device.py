"""The protocol against known truth: how near the medians come, and whether a device that heats up is found out."""

from random import Random

import numpy as np
import pytest

from hwnas.core.errors import BadInput
from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.latency.graphs import operator_graph
from hwnas.latency.protocol import Protocol
from hwnas.latency.statistics import trend
from hwnas.latency.timing import Measuring
from hwnas.operators.opspec import OpSpec
from hwnas.testing import simulated, suite
from hwnas.testing.simulated import Faults, SimulatedDevice, SimulatedSession

SEEDS = 100
TRUE_NS = {f"op{i:02}": float(ns) for i, ns in enumerate(np.geomspace(5e5, 5e6, 12))}
RUN_SECONDS = 3.2
"""Of the device's time, for the rounds that everything takes; so a ramp of this length ends with them."""


def measured(seed: int, **options) -> tuple[Measuring, np.ndarray]:
    """The measuring of one seed, and measured / true for each operator."""
    device = SimulatedDevice(Faults(ramp_seconds=RUN_SECONDS, seed=seed, **options))
    m = Measuring({k: SimulatedSession(device, ns) for k, ns in TRUE_NS.items()}, Protocol(), Random(seed))
    timings = m.run("simulated")
    return m, np.array([timings[key].median_ms * 1e6 / ns for key, ns in TRUE_NS.items()])


def spread(ratios: np.ndarray) -> float:
    """Median over the operators of how far they are off."""
    return float(np.median(np.abs(ratios - 1)))


def test_noise_and_spikes_move_no_median_by_more_than_a_percent_and_raise_no_alarm():
    runs = [measured(seed) for seed in range(SEEDS)]
    assert sum(spread(ratios) <= 0.01 for _, ratios in runs) >= 99
    unstable = [len(m.unstable()) for m, _ in runs]
    assert sum(count == len(TRUE_NS) for count in unstable) <= 1
    assert np.mean(unstable) <= 0.01 * len(TRUE_NS)


def test_a_ramp_is_found_every_time_and_leaves_the_ratios_right():
    runs = [measured(seed, ramp=0.2) for seed in range(SEEDS)]
    assert all(0.1 < m.drift() < 0.25 for m, _ in runs)
    for m, ratios in runs:
        assert len(m.unstable()) == len(TRUE_NS)
        assert ratios.min() > 1 and ratios.max() < 1.2 * 1.03
    assert sum(spread(ratios / np.median(ratios)) <= 0.01 for _, ratios in runs) >= 99


def test_a_device_that_becomes_faster_is_found_as_well():
    assert all(measured(seed, ramp=-0.2)[0].drift() < -0.1 for seed in range(20))


class Killed(Exception): ...


@pytest.mark.parametrize("cooled", [True, False])
@pytest.mark.parametrize("after", [2, 6, 10])
def test_a_ramp_across_an_interruption_is_found(after: int, cooled: bool):
    """Killed after so many rounds and gone on with, at once or cold again: each process knows its own turns' order."""
    for seed in range(5):
        faults = Faults(ramp=0.2, ramp_seconds=RUN_SECONDS, seed=seed)
        device = SimulatedDevice(faults)
        taken: dict[str, dict[int, list[int]]] = {}

        def record(key: str, number: int, samples_ns: list[int], taken=taken) -> None:
            if sum(map(len, taken.values())) == after * len(TRUE_NS) + 7:
                raise Killed
            taken.setdefault(key, {})[number] = samples_ns

        with pytest.raises(Killed):
            measuring(device, seed, record=record).run("killed")
        if cooled:
            device = SimulatedDevice(faults.model_copy(update={"seed": seed + 1000}))
        resumed = measuring(device, seed, taken=taken)
        timings = resumed.run("resumed")
        assert abs(resumed.drift()) > 0.05
        ratios = np.array([timings[key].median_ms * 1e6 / ns for key, ns in TRUE_NS.items()])
        assert spread(ratios / np.median(ratios)) <= 0.015


def measuring(device: SimulatedDevice, seed: int, **options) -> Measuring:
    sessions = {key: SimulatedSession(device, ns) for key, ns in TRUE_NS.items()}
    return Measuring(sessions, Protocol(), Random(seed), **options)


def test_a_trend_is_measured_whatever_the_outliers():
    rng = np.random.default_rng(0)
    rising = np.log(np.linspace(1, 1.3, 300)) + rng.normal(0, 0.03, 300)
    rising[rng.random(300) < 0.1] += 2
    assert trend(list(rising)) == pytest.approx(0.3, abs=0.04)
    assert trend([0.0, 1.0]) == 0
    assert np.mean([trend(list(rng.normal(0, 0.05, 240))) != 0 for _ in range(300)]) <= 0.03


RUNTIME = str(simulated.__file__)


@pytest.mark.parametrize("check", suite("runtimes"))
def test_it_is_a_runtime_like_any_other(check, tmp_path):
    check(RUNTIME, tmp_path)


def test_its_cost_law_is_linear_in_the_multiply_accumulates():
    def true_ns(width: int) -> float:
        spec = OpSpec.of("conv", (width, 16, 16), out=64, kernel=1, stride=1, act="relu")
        return runtime.load(operator_graph(spec, runtime)).true_ns

    runtime = open_runtime(Target(name="simulated", runtime=RUNTIME))
    per_channel = (true_ns(128) - true_ns(64)) / 64
    assert per_channel == pytest.approx(64 * 16 * 16 * 0.02)
    assert true_ns(256) - true_ns(128) == pytest.approx(128 * per_channel)


def test_unknown_faults_are_refused():
    with pytest.raises(BadInput, match="spikes"):
        open_runtime(Target(name="simulated", runtime=RUNTIME, options={"spikes": 2.0}))
