"""What every estimator must do, on a small space and 400 digits, its test split sealed."""

from pathlib import Path
from random import Random
from unittest import SkipTest

import numpy as np

from hwnas.core.config import NoSettings, validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.search.estimators import Estimator, Means
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.training.compute import Device
from hwnas.training.data import Data, Split
from hwnas.training.datasets import Images, RawData
from hwnas.training.datasets.digits import Digits
from hwnas.training.settings import Compute, Recipe


class SealedData(Data):
    """Data whose test split is not even there."""

    def open_test(self) -> Split:
        raise AssertionError("the test split was read during the search")


def check_settings(name: str, folder: Path) -> None:
    """Defaults are complete, and a setting that does not exist is refused."""
    settings = load("estimators", name).Settings
    validate(settings, {}, "estimator")
    try:
        validate(settings, {"no_such_setting": 1}, "estimator")
    except BadInput:
        return
    raise AssertionError("an unknown setting was accepted: let Settings derive from hwnas.core.config.Settings")


def check_estimates(name: str, folder: Path) -> None:
    """Fractions, the same for one seed whatever was asked before: a resumed search asks only for the rest."""
    means = small_means(folder / "first")
    archs = [means.space.reference(), means.space.random(Random(1))]
    first = _estimator(name, means)
    estimates = [first.accuracy(arch) for arch in archs]
    assert all(isinstance(e, float) and 0 <= e <= 1 for e in estimates), f"estimates {estimates} are no fractions"
    again = _estimator(name, small_means(folder / "second"))
    assert again.accuracy(archs[1]) == estimates[1], "the same question to a new estimator gets another answer"


def check_resumes(name: str, folder: Path) -> None:
    """What it prepared is found again by a second one with the same checkpoints."""
    means = small_means(folder)
    first = _estimator(name, means)
    second = _estimator(name, means)
    assert first.accuracy(means.space.reference()) == second.accuracy(means.space.reference())


def small_means(checkpoints: Path) -> Means:
    """One epoch, two blocks, one thread."""
    raw = Digits(NoSettings()).load(16)
    nothing = Images(np.zeros((1, *raw.test.pixels.shape[1:]), np.uint8), np.zeros(1, np.int64))
    data = SealedData(RawData(raw.train, nothing, raw.class_names, raw.flip), resolution=16, seed=0, limit=400)
    skeleton = {"resolution": 16, "widths": [8, 16], "depths": [1, 1], "strides": [1, 2], "head_width": 32}
    space = Mobile(validate(MobileSettings, skeleton, "space"), channels=1, classes=data.classes)
    device = Device(Compute(device="cpu", threads=1))
    return Means(space, data, Recipe(epochs=2, batch_size=32), device, seed=0, trials=2, checkpoints=checkpoints)


def _estimator(name: str, means: Means) -> Estimator:
    plugin = load("estimators", name)
    try:
        estimator = plugin(means, validate(plugin.Settings, {}, "estimator"))
    except BadInput as error:
        raise SkipTest(f"of estimators that work without settings: {error.what}") from error
    estimator.prepare()
    return estimator
