"""Published accuracies and latencies in place of measurements: what the files say, and how they can be wrong."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hwnas.core.errors import BadInput
from hwnas.latency.tabular import TabularLatency
from hwnas.search.estimators.tabular import Tabular, TabularSettings
from hwnas.search.problem import Problem
from hwnas.spaces import every_arch
from hwnas.testing.paper import PaperSpace, one_operator_an_option

SPACE = PaperSpace([2, 3], one_operator_an_option([2, 3]))
ARCHS = every_arch(SPACE)
COLUMNS: dict[str, Any] = {
    "archs": ARCHS,
    "accuracy": np.linspace(0.1, 0.6, 6),
    "seeds": np.array([[10.0, 20.0, np.nan]] * 5 + [[np.nan] * 3]),
    "seconds": np.full(6, 1000.0),
}


def write(folder: Path, **changes: Any) -> Path:
    np.savez(folder / "table.npz", **(COLUMNS | changes))
    return folder / "table.npz"


def open_table(path: Path | None, **settings: Any) -> Tabular:
    return Tabular(SimpleNamespace(space=SPACE), TabularSettings(path=path, **settings))


def test_looks_up_what_was_published(tmp_path: Path) -> None:
    table = open_table(write(tmp_path), seconds="seconds", seconds_share=12 / 200)
    assert table.accuracy((0, 0)) == pytest.approx(0.1)
    assert table.accuracy((1, 2)) == pytest.approx(0.6)
    assert table.seconds((1, 1)) == pytest.approx(60.0)


def test_json_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"archs": ARCHS.tolist(), "accuracy": [0.5] * 6}))
    assert open_table(path).accuracy((1, 0)) == 0.5


def test_the_mean_is_over_the_seeds_that_were_run(tmp_path: Path) -> None:
    table = open_table(write(tmp_path), column="seeds", unit="percent")
    assert table.accuracy((0, 0)) == pytest.approx(0.15)
    with pytest.raises(BadInput, match="has no 'seeds'"):
        table.accuracy((1, 2))


def test_a_missing_number_is_an_error(tmp_path: Path) -> None:
    holes = COLUMNS["accuracy"].copy()
    holes[3] = np.nan
    table = open_table(write(tmp_path, accuracy=holes))
    assert table.accuracy((0, 0)) > 0
    with pytest.raises(BadInput, match="has no 'accuracy' of"):
        table.accuracy((1, 0))
    with pytest.raises(BadInput, match="column of training times"):
        table.seconds((0, 0))
    few = open_table(write(tmp_path, archs=ARCHS[:2], accuracy=[0.1, 0.2]))
    with pytest.raises(BadInput, match="has no 'accuracy' of"):
        few.accuracy((1, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"archs": ARCHS + 1}, "no architecture of this space"),
        ({"archs": np.vstack([ARCHS[:5], ARCHS[:1]])}, "is in the rows 0 and 5"),
        ({"archs": ARCHS[:, 0]}, "two dimensions"),
        ({"archs": ARCHS * 1.0}, "not numbers"),
        ({"accuracy": np.zeros(5)}, "shape"),
        ({"accuracy": np.array(["a"] * 6)}, "not numbers"),
    ],
)
def test_a_table_of_something_else_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        open_table(write(tmp_path, **changes))


def test_percent_is_not_taken_for_a_fraction(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, accuracy=np.full(6, 93.0)))
    with pytest.raises(BadInput, match="unit=percent"):
        table.accuracy((0, 0))


def test_no_path_no_table(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="published table"):
        open_table(None)
    with pytest.raises(BadInput, match="cannot read"):
        open_table(tmp_path / "absent.npz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04torn"])
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_damaged_file_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="no named arrays"):
        open_table(path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "table.npz", archs=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadInput):
        open_table(tmp_path / "table.npz")


def test_published_latencies_are_the_model() -> None:
    ms = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 9.0])
    latency = TabularLatency(SPACE, ARCHS, ms)
    assert latency.predict((1, 2)) == 9.0
    assert latency.predict_many(ARCHS).tolist() == ms.tolist()
    assert latency.margin == 1.0 and not latency.is_sum
    problem = Problem(SPACE, latency, budget_ms=4.0, seed=0)
    fits = {tuple(arch) for arch, fit in zip(ARCHS.tolist(), problem.feasible_many(ARCHS), strict=True) if fit}
    assert fits == {tuple(arch) for arch in ARCHS.tolist() if problem.feasible(tuple(arch))}
    assert fits == {(0, 0), (0, 1), (0, 2), (1, 0)}
    scores = [np.array([0.0, 1.0]), np.array([0.0, 1.0, 5.0])]
    projected = problem.project(scores, 4)
    assert projected and set(projected) <= fits  # the stand-in proposes, the table decides


def test_the_stand_in_is_the_least_squares_sum() -> None:
    ms = 1.0 + 2.0 * ARCHS[:, 0] + np.array([0.0, 0.5, 3.0])[ARCHS[:, 1]]
    latency = TabularLatency(SPACE, ARCHS, ms)
    assert np.allclose(latency.additive.sum_many(ARCHS), ms)
    rng = np.random.default_rng(0)
    noisy = TabularLatency(SPACE, ARCHS, ms + rng.uniform(0, 0.5, 6))
    residuals = noisy.predict_many(ARCHS) - noisy.additive.sum_many(ARCHS)
    for choice in range(2):
        for option in range(len(SPACE.choices[choice].options)):
            assert abs(residuals[ARCHS[:, choice] == option].sum()) < 1e-9  # orthogonal to what it was fitted on


@pytest.mark.parametrize("wrong", [np.nan, 0.0, -1.0, np.inf])
def test_a_latency_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(BadInput, match="no latency"):
        TabularLatency(SPACE, ARCHS, np.array([1.0, 2.0, 3.0, 4.0, 5.0, wrong]))
    with pytest.raises(BadInput, match="no latency was published"):
        TabularLatency(SPACE, ARCHS[:2], np.array([1.0, 2.0])).predict((1, 2))
