"""What each estimator does of its own: when it stops, what it learns from, and that it resumes to the same answers."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hwnas.core.arch import Arch
from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.search.estimators import Means
from hwnas.search.estimators._curves import Curves, Point
from hwnas.search.estimators._watched import Watched
from hwnas.spaces.mobilenet_v2 import MobilenetV2
from hwnas.testing.estimator import small_means
from hwnas.training import network as training


def opened(name: str, means: Means, **settings: Any) -> Any:
    plugin = load("estimators", name)
    return plugin(means, validate(plugin.Settings, settings, name))


def some(means: Means, count: int) -> list[Arch]:
    rng, found = Random(3), dict[Arch, None]()
    while len(found) < count:
        found[means.space.random(rng)] = None
    return list(found)


def known_curves(means: Means, ends: dict[Arch, list[float]]) -> Means:
    """`means` whose checkpoints hold these curves: nothing is left to train."""
    epochs = len(next(iter(ends.values())))
    means = replace(means, recipe=means.recipe.model_copy(update={"epochs": epochs}))
    journal = Curves(means, epochs).journal
    for arch, curve in ends.items():
        for number, value in enumerate(curve, start=1):
            facts = {"training": value, "search": value, "spent_seconds": 1.0}
            journal.append("epoch", arch=list(arch), epoch=number, **facts)
    return means


def rising(end: float, epochs: int = 9) -> list[float]:
    return [end * (1 - 0.5**number) for number in range(1, epochs + 1)]


def test_successive_halving_keeps_a_third_at_every_rung(tmp_path: Path) -> None:
    """By hand, η = 3, rungs 1 and 3: the first two go on; of three at a rung only the best does."""
    means = small_means(tmp_path)
    archs = some(means, 5)
    means = known_curves(means, {a: rising(end) for a, end in zip(archs, (0.6, 0.8, 0.7, 0.9, 0.5), strict=True)})
    halving = opened("successive-halving", means)
    for arch in archs:
        halving.accuracy(arch)
    assert [halving.judged[arch].epochs for arch in archs] == [9, 9, 1, 9, 1]
    assert halving.accuracy(archs[2]) == rising(0.7)[0], "a stopped network's estimate is its last rung's"
    assert halving.epochs(5) == 29


def test_a_learning_curve_that_cannot_win_is_stopped_and_one_that_leads_is_not(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    archs = some(means, 8)
    ends = (0.5, 0.6, 0.7, 0.8, 0.9, 0.55, 0.65, 0.95)
    means = known_curves(means, {a: rising(e) for a, e in zip(archs, ends, strict=True)})
    watch = opened("learning-curve", means, first=5)
    estimates = [watch.accuracy(arch) for arch in archs]
    assert [watch.judged[arch].epochs for arch in archs] == [9, 9, 9, 9, 9, 2, 2, 9]
    assert estimates[5] == pytest.approx(rising(0.55)[-1], abs=0.02)
    low, high = watch.interval_90(archs[5])
    assert low <= estimates[5] <= high


def test_a_predictor_trains_the_first_and_no_other(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    archs = some(means, 6)
    means = known_curves(means, {a: rising(0.5 + 0.05 * i) for i, a in enumerate(archs)})
    predictor = opened("predictor", means, first=4)
    estimates = [predictor.accuracy(arch) for arch in archs]
    assert predictor.epochs(6) == 4 * 9
    assert estimates[:4] == [rising(0.5 + 0.05 * i)[-1] for i in range(4)]
    low, high = predictor.interval_90(archs[5])
    assert 0 <= low < estimates[5] < high <= 1


@pytest.mark.parametrize("name", ["learning-curve", "successive-halving", "predictor"])
def test_a_second_process_goes_on_where_the_first_was_killed(name: str, tmp_path: Path) -> None:
    """Really trained: asked for the rest alone, it answers as one that was never interrupted."""
    settings = {} if name == "successive-halving" else {"first": 2}
    settings |= {"epochs": 4} | ({"eta": 2} if name == "successive-halving" else {})
    means = small_means(tmp_path / "whole")
    archs = some(means, 4)
    whole = opened(name, means, **settings)
    expected = [whole.accuracy(arch) for arch in archs]
    parts = small_means(tmp_path / "parts")
    first = opened(name, parts, **settings)
    assert [first.accuracy(arch) for arch in archs[:3]] == expected[:3]
    second = opened(name, parts, **settings)
    assert second.accuracy(archs[3]) == expected[3]
    assert second.epochs(4) == whole.epochs(4)


class Killed(Exception):
    pass


def test_a_training_that_was_killed_goes_on_from_its_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(Curves(small_means(tmp_path / "whole"), 3).of(small_means(tmp_path).space.reference()))
    means = small_means(tmp_path / "killed")
    saved = training._save

    def save_and_die(*arguments: Any) -> None:
        saved(*arguments)
        if arguments[-2].number == 2:
            raise Killed

    monkeypatch.setattr(training, "_save", save_and_die)
    with pytest.raises(Killed):
        list(Curves(means, 3).of(means.space.reference()))
    monkeypatch.undo()
    again = list(Curves(means, 3).of(means.space.reference()))
    assert [point[:2] for point in again] == [point[:2] for point in expected]
    assert not list(means.checkpoints.glob("*.safetensors")), "a finished training leaves no checkpoint"


def test_who_stops_looking_stops_the_training(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    curve = Curves(means, 3).of(means.space.reference())
    first: Point = next(curve)
    curve.close()
    assert not list(means.checkpoints.glob("*.safetensors"))
    assert next(Curves(means, 3).of(means.space.reference())) == first


def test_watching_changes_nothing_about_the_training(tmp_path: Path) -> None:
    """The last point of a watched curve is what early-stop says of as many epochs."""
    means = small_means(tmp_path)
    arch = means.space.reference()
    full = opened("full", means)
    assert isinstance(full, Watched)
    assert full.accuracy(arch) == opened("early-stop", means, epochs=means.recipe.epochs).accuracy(arch)


@pytest.mark.parametrize("name", ["full", "learning-curve", "successive-halving", "predictor", "early-stop"])
def test_a_network_that_diverges_is_worth_nothing_and_ends_no_search(name: str, tmp_path: Path) -> None:
    means = small_means(tmp_path)
    wild = replace(means, recipe=means.recipe.model_copy(update={"learning_rate": 1e30}))
    assert opened(name, wild).accuracy(means.space.reference()) == 0.0
    assert opened(name, wild).accuracy(means.space.reference()) == 0.0, "nor when it is asked again"
    assert not list(means.checkpoints.glob("*.safetensors"))


def test_cheap_trainings_count_in_full_epochs(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    assert opened("subset", means, fraction=0.25, epochs=4).epochs(3) == pytest.approx(3.0, rel=0.02)
    narrow = opened("narrow", means, epochs=4)
    assert 0 < narrow.epochs(1) < 4
    assert narrow.space.choices == means.space.choices
    voters, per_batch = 5, 64 / len(means.data.weights)
    assert opened("zero-cost", means).epochs(10) == pytest.approx((10 + 20) * voters * per_batch)


def test_a_subset_has_all_classes_alike(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    images = opened("subset", means, fraction=0.5).images
    counts = [int((images.images.labels == label).sum()) for label in range(10)]
    assert max(counts) - min(counts) <= 2


def test_a_space_that_cannot_be_narrowed_is_refused(tmp_path: Path) -> None:
    means = small_means(tmp_path)
    family = MobilenetV2.beside(16, 1, 10, 2, (1, 2))
    with pytest.raises(BadInput, match="does not say how it is made smaller"):
        opened("narrow", replace(means, space=family))
