"""The form of the latency model is chosen by evidence: a sum where operators add up, neighbours where they do not, and
the target itself where it prices whole networks."""

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest

from hwnas.core.arch import Arch
from hwnas.latency import model as model_module
from hwnas.latency.calibration import calibrate
from hwnas.latency.model import LatencyModel, space_key
from hwnas.latency.table import LatencyTable, MeasuredNetwork
from hwnas.search.problem import Problem
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_table, prices

WIDTHS = [3] * 7
SPACE = PaperSpace(WIDTHS, one_operator_an_option(WIDTHS))
MS = np.array(prices(21, 0)).reshape(7, 3)
Truth = Callable[[Arch], float]


def total(arch: Arch) -> float:
    return float(sum(MS[choice, option] for choice, option in enumerate(arch)))


def fused(arch: Arch) -> float:
    """Two neighbours of the same option are compiled into one, which saves 6 % of the network each time."""
    return total(arch) * 0.94 ** sum(a == b for a, b in pairwise(arch))


def calibrated(truth: Truth, noise: float = 0.003, whole: bool = False) -> LatencyTable:
    rng = np.random.default_rng(0)
    archs = [tuple(int(option) for option in rng.integers(0, 3, 7)) for _ in range(120)]
    networks = [
        MeasuredNetwork(arch=arch, median_ms=first, p90_ms=1.1 * first, repeat_ms=again)
        for arch in dict.fromkeys(archs)
        for first, again in [truth(arch) * (1 + noise * rng.standard_normal(2))]
    ]
    networks.sort(key=lambda network: total(network.arch))
    held_out = networks[::4]
    fitted = [network for network in networks if network not in held_out]
    table = paper_table(SPACE, MS.ravel().tolist())
    found = calibrate(SPACE, table, fitted, held_out, whole)
    return table.model_copy(update={"calibration": {space_key(SPACE): found}})


def errors(model: LatencyModel, truth: Truth) -> np.ndarray:
    archs = [tuple(arch) for arch in np.random.default_rng(1).integers(0, 3, (300, 7)).tolist()]
    return np.abs(model.predict_many(np.array(archs)) / [truth(arch) for arch in archs] - 1)


def test_a_sum_where_operators_add_up() -> None:
    table = calibrated(total)
    assert table.calibration[space_key(SPACE)].form == "sum"
    assert errors(LatencyModel(SPACE, table), total).max() < 0.01


def test_neighbours_where_they_do_not() -> None:
    table = calibrated(fused)
    found = table.calibration[space_key(SPACE)]
    assert found.form == "neighbours" and found.stand_in is not None
    assert found.error.mean < 0.5 * found.stand_in.mean
    model = LatencyModel(SPACE, table)
    assert errors(model, fused).mean() < 0.015
    arch = SPACE.reference()
    assert model.predict(arch) == pytest.approx(model.predict_many(np.array([arch]))[0])
    assert sum(ms for _, ms in model.breakdown(arch)) == pytest.approx(model.predict(arch))


def test_the_bound_covers_95_percent_of_networks_unseen() -> None:
    model = LatencyModel(SPACE, calibrated(fused, noise=0.02))
    archs = np.random.default_rng(2).integers(0, 3, (2000, 7))
    noise = 1 + 0.02 * np.random.default_rng(3).standard_normal(2000)
    measured_ms = np.array([fused(tuple(arch)) for arch in archs.tolist()]) * noise
    assert 0.92 < (measured_ms <= model.predict_many(archs) * model.margin).mean() <= 1


def test_a_model_is_the_same_after_saving_and_loading() -> None:
    table = calibrated(fused)
    again = LatencyTable.model_validate_json(table.model_dump_json())
    archs = np.random.default_rng(4).integers(0, 3, (50, 7))
    assert (LatencyModel(SPACE, table).predict_many(archs) == LatencyModel(SPACE, again).predict_many(archs)).all()


@pytest.mark.parametrize("truth", [total, fused])
def test_projections_keep_the_budget_of_the_model_and_not_of_the_stand_in(truth: Truth) -> None:
    model = LatencyModel(SPACE, calibrated(truth))
    everything = np.array(list(product(range(3), repeat=7)))
    ms = model.predict_many(everything)
    problem = Problem(SPACE, model, float(np.quantile(ms, 0.3)) * model.margin, seed=0)
    rng = np.random.default_rng(5)
    for _ in range(5):
        scores = [rng.standard_normal(3) for _ in WIDTHS]
        found = problem.project(scores, 3)
        assert len(found) == 3
        assert all(model.predict(arch) <= problem.limit_ms for arch in found)
        value = sum(s[everything[:, choice]] for choice, s in enumerate(scores))
        best = value[ms <= problem.limit_ms].max()
        reached = sum(s[option] for s, option in zip(scores, found[0], strict=True))
        assert reached >= best - (1e-9 if model.is_sum else 0.15 * np.ptp(value))


def test_a_target_that_prices_networks_is_asked_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Arch] = []

    class Priced:
        def __init__(self, *_: object) -> None:
            pass

        def predict_many(self, archs: np.ndarray) -> np.ndarray:
            asked.extend(tuple(arch) for arch in archs.tolist())
            return np.array([fused(tuple(arch)) for arch in archs.tolist()])

    monkeypatch.setattr(model_module, "Whole", Priced)
    table = calibrated(fused, noise=0.0, whole=True)
    model = LatencyModel(SPACE, table)
    assert table.calibration[space_key(SPACE)].form == "whole" and model.margin == 1
    for _ in range(3):
        assert model.predict((0, 1, 2, 0, 1, 2, 0)) == fused((0, 1, 2, 0, 1, 2, 0))
    assert asked == [(0, 1, 2, 0, 1, 2, 0)]
