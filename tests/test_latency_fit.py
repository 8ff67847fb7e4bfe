"""The correction from operators to networks, on networks whose true latency is known because it was made up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import BadInput
from hwnas.latency.correction import fit
from hwnas.latency.error import upper_95
from hwnas.latency.model import LatencyModel
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_table, prices

WIDTHS = [4] * 10


def made_up(count: int, seed: int, deviating: int = 0) -> np.ndarray:
    """Features of `count` networks: sum of operators, their number, 1, and groups of operators' ms."""
    rng = np.random.default_rng(seed)
    groups = rng.uniform(0, 1, (count, deviating))
    return np.column_stack([rng.uniform(5, 20, count), rng.integers(8, 20, count), np.ones(count), groups])


@pytest.mark.parametrize("truth", [(0.8, 0.0, 0.0), (0.8, 0.0, 0.5), (1.1, -0.05, 0.3)])
def test_known_coefficients_are_recovered(truth: tuple[float, float, float]) -> None:
    x = made_up(40, seed=1)
    fitted = fit(x, x @ np.array(truth))
    assert fitted.coefficients[:3] == pytest.approx(truth, abs=1e-6)
    assert np.abs(fitted.residuals).max() < 1e-9


def test_noise_does_not_tempt_it_into_more_terms() -> None:
    """Where only the scale is real, the other terms stay small enough not to matter."""
    rng = np.random.default_rng(0)
    x = made_up(40, seed=2)
    fitted = fit(x, 0.8 * x[:, 0] * (1 + 0.02 * rng.standard_normal(40)))
    fresh = made_up(500, seed=3)
    assert np.abs(fresh @ fitted.coefficients / (0.8 * fresh[:, 0]) - 1).mean() < 0.01


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), deviating=st.sampled_from([0, 5, 60]))
def test_residuals_are_those_of_explicit_refits(seed: int, deviating: int) -> None:
    """Leaving a network out and fitting the same form again predicts it as the shortcut by leverage says."""
    rng = np.random.default_rng(seed)
    x = made_up(24, seed, deviating)
    measured = (0.7 * x[:, 0] + 0.1) * (1 + 0.05 * rng.standard_normal(24))
    fitted = fit(x, measured)
    for left_out in range(len(x)):
        kept = np.arange(len(x)) != left_out
        again = same_form(x[kept], measured[kept], fitted.form)
        residual = float(x[left_out] @ again / measured[left_out] - 1)
        assert fitted.residuals[left_out] == pytest.approx(residual, rel=1e-4, abs=1e-8)


def same_form(x: np.ndarray, measured: np.ndarray, form: str) -> np.ndarray:
    """The coefficients of one form, by an ordinary least-squares solver on rows of prior knowledge below the data."""
    linear = {"scale": [0], "scale+constant": [0, 2], "scale+per_operator+constant": [0, 1, 2]}
    columns = linear.get(form, list(range(x.shape[1])))
    data = x[:, columns] / measured[:, None]
    prior = 0.01 / 0.04 * np.eye(len(columns))[3:]  # measurement noise over expected deviation
    rows = np.vstack([data, prior])
    solution = np.linalg.lstsq(rows, np.concatenate([np.ones(len(data)), np.zeros(len(prior))]), rcond=None)[0]
    coefficients = np.zeros(x.shape[1])
    coefficients[columns] = solution
    return coefficients


def test_the_95_percent_bound_covers_95_percent() -> None:
    """On fresh networks, averaged over many calibrations of 40 networks each."""
    covered = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        x, fresh = made_up(40, seed), made_up(400, seed + 1000)
        true, fresh_true = (0.8 * f[:, 0] * np.exp(0.05 * rng.standard_normal(len(f))) for f in (x, fresh))
        fitted = fit(x, true)
        covered.append((fresh_true <= fresh @ fitted.coefficients * upper_95(fitted.residuals)).mean())
    assert 0.94 < np.mean(covered) < 0.985


def test_the_bound_covers_runs_that_shift_as_a_whole() -> None:
    """Tomorrow's run finds all networks 1 % (standard deviation) off; a bound that does not know holds too few."""
    plain, shifted = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        x, fresh = made_up(40, seed), made_up(400, seed + 1000)
        true, fresh_true = (0.8 * f[:, 0] * np.exp(0.004 * rng.standard_normal(len(f))) for f in (x, fresh))
        fitted, shifts = fit(x, true), np.expm1(0.01 * rng.standard_normal(16))
        tomorrow_ms = fresh_true * np.exp(0.01 * rng.standard_normal())
        predicted_ms = fresh @ fitted.coefficients
        plain.append((tomorrow_ms <= predicted_ms * upper_95(fitted.residuals)).mean())
        shifted.append((tomorrow_ms <= predicted_ms * upper_95(fitted.residuals, shifts)).mean())
    assert np.mean(plain) < 0.85 and 0.93 < np.mean(shifted) < 0.99


def test_a_model_predicts_what_networks_measure() -> None:
    space = PaperSpace(WIDTHS, one_operator_an_option(WIDTHS))
    table = paper_table(space, prices(40, 0), measure=lambda total, number: 0.9 * total + 0.2)
    model = LatencyModel(space, table)
    raw = dict(zip((c.spec for c in space.operators()), prices(40, 0), strict=True))
    archs = [tuple(arch) for arch in np.random.default_rng(0).integers(0, 4, (50, 10)).tolist()]
    for arch in archs:
        assert model.predict(arch) == pytest.approx(0.9 * sum(raw[s] for s in space.ops(arch)) + 0.2, rel=1e-6)
        assert sum(ms for _, ms in model.breakdown(arch)) == pytest.approx(model.predict(arch), rel=1e-9)
    assert model.predict_many(np.array(archs)) == pytest.approx([model.predict(arch) for arch in archs], rel=1e-12)
    assert model.margin == pytest.approx(1, abs=1e-6)


def test_each_statistic_has_its_own_fit() -> None:
    space = PaperSpace(WIDTHS, one_operator_an_option(WIDTHS))
    table = paper_table(space, prices(40, 0))
    (key, calibration), *_ = table.calibration.items()
    slower = [n.model_copy(update={"p90_ms": 1.3 * n.median_ms}) for n in calibration.fitted]
    table = table.model_copy(update={"calibration": {key: calibration.model_copy(update={"fitted": slower})}})
    median, p90 = LatencyModel(space, table, "median"), LatencyModel(space, table, "p90")
    assert p90.predict((0,) * 10) == pytest.approx(1.3 * median.predict((0,) * 10), rel=1e-6)


def test_a_missing_operator_and_a_missing_calibration_name_the_command() -> None:
    space = PaperSpace(WIDTHS, one_operator_an_option(WIDTHS))
    table = paper_table(space, prices(40, 0))
    lacking = table.model_copy(update={"entries": dict(list(table.entries.items())[1:])})
    for broken in (lacking, table.model_copy(update={"calibration": {}})):
        with pytest.raises(BadInput) as caught:
            LatencyModel(space, broken)
        assert "hwnas profile" in caught.value.mend


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_a_wrong_unit_is_refused(factor: float) -> None:
    """Operators a thousand times too slow or fast for the networks they make up."""
    space = PaperSpace(WIDTHS, one_operator_an_option(WIDTHS))
    table = paper_table(space, prices(40, 0), measure=lambda total, number: factor * total)
    with pytest.raises(BadInput):
        LatencyModel(space, table)


@given(seed=st.integers(0, 10_000))
def test_no_network_is_given_less_than_no_time_however_noisy_the_measurements(seed: int) -> None:
    """Eight networks, each off by up to 3 times."""
    rng = np.random.default_rng(seed)
    x, others = made_up(8, seed), made_up(100, seed + 1)
    fitted = fit(x, x[:, 0] * 3 ** rng.uniform(-1, 1, 8), others)
    assert (others @ fitted.coefficients > 0).all()
