"""What every data set must do. One that needs files is read from $HWNAS_DATA/<name, _ for ->, and skipped without."""

import os
from pathlib import Path
from unittest import SkipTest

import numpy as np

from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.training.datasets import Images, RawData, RawText

RESOLUTION = 16


def check_settings(name: str, folder: Path) -> None:
    """Defaults are complete, and a setting that does not exist is refused."""
    settings = load("datasets", name).Settings
    validate(settings, {}, "data")
    try:
        validate(settings, {"no_such_setting": 1}, "data")
    except BadInput:
        return
    raise AssertionError("an unknown setting was accepted: let Settings derive from hwnas.core.config.Settings")


def check_images(name: str, folder: Path) -> None:
    """uint8 [n, channels, height, width] and int64 labels, every class in the training part, one shape in both."""
    raw = _read(name)
    if not isinstance(raw, RawData):
        raise SkipTest("of data sets of images")
    for images in (raw.train, raw.test):
        assert isinstance(images, Images) and len(images) > 0
        assert images.pixels.dtype == np.uint8 and images.labels.dtype == np.int64
        assert images.labels.min() >= 0 and images.labels.max() < len(raw.class_names)
    assert raw.train.pixels.shape[1:] == raw.test.pixels.shape[1:]
    assert len(np.unique(raw.train.labels)) == len(raw.class_names) == len(set(raw.class_names))
    assert raw.train.pixels.max() > 1, "pixels go from 0 to 255"


def check_text(name: str, folder: Path) -> None:
    """Three texts of word numbers, every word of the vocabulary in the training text, none twice."""
    raw = _read(name)
    if not isinstance(raw, RawText):
        raise SkipTest("of data sets of text")
    assert len(set(raw.words)) == len(raw.words) == len(np.unique(raw.train))
    assert all(len(text) > 0 and 0 <= text.min() <= text.max() < len(raw.words) for text in _arrays(raw))


def check_repeatable(name: str, folder: Path) -> None:
    """Read twice, it is the same."""
    once, again = _read(name), _read(name)
    for one, two in zip(_arrays(once), _arrays(again), strict=True):
        assert np.array_equal(one, two)


def check_missing_folder(name: str, folder: Path) -> None:
    """No folder, a missing one and an empty one: BadInput before or while loading."""
    plugin = load("datasets", name)
    if "dir" not in plugin.Settings.model_fields:
        raise SkipTest("of data sets that are read from a folder")
    (folder / "empty").mkdir()
    for settings in ({}, {"dir": str(folder / "missing")}, {"dir": str(folder / "empty")}):
        try:
            plugin(validate(plugin.Settings, settings, "data")).load(RESOLUTION)
        except BadInput:
            continue
        raise AssertionError(f"{settings} was loaded")


def _arrays(raw: RawData | RawText) -> tuple[np.ndarray, ...]:
    if isinstance(raw, RawText):
        return raw.train, raw.valid, raw.test
    return raw.train.pixels, raw.train.labels, raw.test.pixels, raw.test.labels


def _read(name: str) -> RawData | RawText:
    plugin = load("datasets", name)
    settings = {}
    if "dir" in plugin.Settings.model_fields:
        where = Path(os.environ.get("HWNAS_DATA", "")) / Path(name).stem.replace("-", "_")
        if "HWNAS_DATA" not in os.environ or not where.is_dir():
            raise SkipTest(f"set HWNAS_DATA to a folder that holds {where.name}/")
        settings = {"dir": str(where)}
    return plugin(validate(plugin.Settings, settings, "data")).load(RESOLUTION)
