"""The measuring core on sessions whose times are known in advance."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from hwnas.latency.protocol import Protocol
from hwnas.latency.timing import Measuring
from hwnas.runtimes import Session

PROTOCOL = Protocol(rounds=6, extra_rounds=4, turn_ms=0.5, min_samples=5, warmup_runs=2)


class Clock:
    """Simulated nanoseconds since the run began, shared by all sessions."""

    now_ns = 0


class FakeSession(Session):
    """Takes `duration(clock)` nanoseconds a run."""

    def __init__(self, clock: Clock, duration: Callable[[int], float]) -> None:
        self.clock, self.duration, self.runs = clock, duration, 0

    def time_ns(self) -> int:
        self.runs += 1
        spent = int(self.duration(self.clock.now_ns))
        self.clock.now_ns += spent
        return spent

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        return inputs


def measuring(durations: dict[str, Callable[[int], float]], protocol: Protocol = PROTOCOL, **options) -> Measuring:
    clock = Clock()
    return Measuring({k: FakeSession(clock, d) for k, d in durations.items()}, protocol, Random(0), **options)


def constant(ns: float) -> Callable[[int], float]:
    return lambda now: ns


def noisy(ns: float, spread: float, seed: int) -> Callable[[int], float]:
    rng = np.random.default_rng(seed)
    return lambda now: ns * rng.lognormal(0, spread)


def test_known_times_are_found() -> None:
    timings = measuring({f"op{i}": constant(1e5 * (i + 1)) for i in range(7)}).run("t")
    for i in range(7):
        timing = timings[f"op{i}"]
        assert timing.median_ms == pytest.approx(0.1 * (i + 1))
        assert timing.p10_ms == timing.median_ms == timing.p90_ms
        assert timing.rounds == 6 and timing.samples >= 30 and timing.variation == 0


def test_spikes_move_neither_median_nor_p90() -> None:
    rng = np.random.default_rng(0)
    timings = measuring({"a": lambda now: 5e6 if rng.random() < 0.05 else 1e5, "b": constant(2e5)}).run("t")
    assert timings["a"].median_ms == pytest.approx(0.1)
    assert timings["a"].p90_ms == pytest.approx(0.1)


def test_percentiles_are_the_distributions() -> None:
    protocol = PROTOCOL.model_copy(update={"rounds": 12, "turn_ms": 20.0})
    timing = measuring({"a": noisy(1e5, 0.2, seed=1)}, protocol).run("t")["a"]
    assert timing.median_ms == pytest.approx(0.1, rel=0.03)
    assert timing.p90_ms == pytest.approx(0.1 * np.exp(0.2 * 1.2816), rel=0.03)
    assert timing.p10_ms == pytest.approx(0.1 * np.exp(-0.2 * 1.2816), rel=0.03)


def test_a_slow_drift_is_found_and_falls_on_all_alike() -> None:
    """The machine slows down by 40 % while it is measured: seen, and equal graphs still come out equal."""
    turns = []
    slowing = {f"op{i}": lambda now: 1e5 * (1 + 0.4 * len(turns) / 60) for i in range(10)}
    m = measuring(slowing, PROTOCOL.model_copy(update={"extra_rounds": 0}), record=lambda *turn: turns.append(turn))
    timings = m.run("t")
    assert m.drift() == pytest.approx(0.4, abs=0.05)
    medians = [t.median_ms for t in timings.values()]
    assert max(medians) / min(medians) < 1.12


def test_no_drift_where_there_is_none() -> None:
    m = measuring({f"op{i}": noisy(1e5, 0.02, seed=i) for i in range(10)})
    m.run("t")
    assert abs(m.drift()) < 0.03
    assert m.unstable() == []


def test_an_unstable_graph_is_flagged_and_measured_longer() -> None:
    """One whose speed differs from visit to visit gets the extra rounds; the calm ones do not."""
    m = measuring({"calm": constant(1e5), "nervous": lambda now: 1e5 * (1 + (now // 3_000_000) % 2)})
    timings = m.run("t")
    assert m.unstable() == ["nervous"]
    assert timings["calm"].rounds == 6 and timings["nervous"].rounds == 10


def test_every_turn_is_recorded_and_none_taken_twice() -> None:
    """Stopped after any turn and started with what was recorded, a run takes only the rest."""
    recorded: dict[str, dict[int, list[int]]] = {}

    class Killed(Exception):
        pass

    def record_ten(key: str, number: int, samples_ns: list[int]) -> None:
        if sum(map(len, recorded.values())) == 10:
            raise Killed
        recorded.setdefault(key, {})[number] = samples_ns

    durations = {f"op{i}": constant(1e5 * (i + 1)) for i in range(4)}
    with pytest.raises(Killed):
        measuring(durations, record=record_ten).run("t")

    again: list[tuple[str, int]] = []
    resumed = measuring(durations, taken=recorded, record=lambda key, number, _: again.append((key, number)))
    timings = resumed.run("t")
    before = {(key, number) for key, rounds in recorded.items() for number in rounds}
    assert len(before) == 10 and len(again) == 24 - 10
    assert before.isdisjoint(again)
    assert timings == measuring(durations).run("t")


def test_a_run_that_was_complete_measures_nothing_and_has_no_drift() -> None:
    """Killed between the last turn and saving the table: the same command finds all there."""
    durations = {f"op{i}": constant(1e5) for i in range(4)}
    complete = measuring(durations)
    first = complete.run("t")
    again = measuring(durations, taken=complete.rounds)
    assert again.run("t") == first
    assert again.drift() == 0


def test_the_order_of_a_round_is_shuffled() -> None:
    orders: dict[int, list[str]] = {}
    durations = {f"op{i}": constant(1e5) for i in range(8)}
    measuring(durations, record=lambda key, number, _: orders.setdefault(number, []).append(key)).run("t")
    assert all(sorted(order) == sorted(durations) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == len(orders)


def test_nothing_to_measure() -> None:
    assert measuring({}).run("t") == {}
