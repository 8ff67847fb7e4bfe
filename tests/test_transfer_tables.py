"""The transfer between latency tables of a space: a made-up device whose every operator's time is known."""

import numpy as np
import pytest

from hwnas.core.errors import BadInput
from hwnas.core.seeds import stream
from hwnas.latency.additive import Additive
from hwnas.latency.table import LatencyTable
from hwnas.latency.transfer_tables import transfer_from_tables
from hwnas.operators import cost
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.paper import paper_table

SPACE = Mobile(MobileSettings(), channels=1, classes=10)
ARCHS = sorted({SPACE.random(stream(0, "transfer", i)) for i in range(300)})


def device(call_ms: float, macs_a_ms: float, parameters_a_ms: float, seed: int) -> np.ndarray:
    """ms of every operator; 5 % of them cannot be explained by what the operator costs."""
    costs = [cost(conditional.spec) for conditional in SPACE.operators()]
    ms = np.array([call_ms + macs / macs_a_ms + parameters / parameters_a_ms for _, parameters, macs in costs])
    return ms * np.exp(0.05 * np.random.default_rng(seed).standard_normal(len(ms)))


def tables() -> list[LatencyTable]:
    others = [(0.01, 1e6, 1e7), (0.002, 5e6, 1e6), (0.05, 5e7, 1e8), (0.005, 2e6, 1e8)]
    return [paper_table(SPACE, list(device(*charges, seed=i))) for i, charges in enumerate(others)]


def test_ten_networks_give_a_new_device_as_a_sum_of_operators() -> None:
    transfer = transfer_from_tables(SPACE, tables(), ARCHS)
    truth = Additive(SPACE, device(0.02, 8e6, 3e6, seed=9))
    chosen = transfer.choose(10)
    assert len(set(chosen)) == 10
    found = transfer.fit({arch: truth.sum(arch) for arch in chosen})
    fresh = np.array([SPACE.random(stream(1, "fresh", i)) for i in range(300)])
    ms, low, high = found.predict(fresh)
    true_ms = truth.sum_many(fresh)
    assert np.median(np.abs(ms / true_ms - 1)) < 0.03
    assert ((low <= true_ms) & (true_ms <= high)).mean() > 0.9
    assert found.additive().sum_many(fresh) == pytest.approx(ms, rel=1e-9)


def test_a_table_without_whole_networks_helps_too() -> None:
    known = tables()
    known[0] = known[0].model_copy(update={"calibration": {}})
    assert len(transfer_from_tables(SPACE, known, ARCHS).choose(10)) == 10
    with pytest.raises(BadInput, match="none of the other devices"):
        bare = [table.model_copy(update={"calibration": {}}) for table in known]
        transfer_from_tables(SPACE, bare, ARCHS)


def test_what_is_refused() -> None:
    known = tables()
    transfer = transfer_from_tables(SPACE, known, ARCHS)
    with pytest.raises(BadInput, match="not among those"):
        transfer.fit({tuple(-1 for _ in SPACE.choices): 1.0})
    with pytest.raises(BadInput, match="too few"):
        transfer.fit({})
    with pytest.raises(BadInput, match="at least two"):
        transfer_from_tables(SPACE, known[:1], ARCHS)
    lacking = {key: entry for key, entry in known[1].entries.items() if key != str(SPACE.operators()[3].spec)}
    known[1] = known[1].model_copy(update={"entries": lacking})
    with pytest.raises(BadInput, match="has no time for"):
        transfer_from_tables(SPACE, known, ARCHS)
