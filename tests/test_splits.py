"""Three disjoint splits with all classes alike, and a test split that is read once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import BadInput
from hwnas.training import data as training_data
from hwnas.training.data import Data, augment, open_data
from hwnas.training.datasets import Images, RawData


def numbered(count: int, classes: int, start: int = 0) -> Images:
    """Images whose pixels spell their own number, so that each can be recognised."""
    numbers = np.arange(start, start + count)
    pixels = np.zeros((count, 1, 8, 8), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = numbers % 256, numbers // 256
    return Images(pixels, (numbers % classes).astype(np.int64))


def numbers_of(images: Images) -> set[int]:
    return set((images.pixels[:, 0, 0, 0].astype(int) + 256 * images.pixels[:, 0, 0, 1].astype(int)).tolist())


def raw(count: int = 600, classes: int = 5) -> RawData:
    names = tuple(f"class{i}" for i in range(classes))
    return RawData(numbered(count, classes), numbered(100, classes, start=count), names, flip=False)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(100, 900),
    classes=st.integers(2, 6),
    fraction=st.floats(0.1, 0.6),
    seed=st.integers(0, 1000),
    limit=st.one_of(st.none(), st.integers(60, 90)),
)
def test_splits_are_disjoint_complete_and_stratified(count, classes, fraction, seed, limit) -> None:
    data = Data(raw(count, classes), resolution=8, seed=seed, search_fraction=fraction, limit=limit)
    weights, search, train = (numbers_of(s.images) for s in (data.weights, data.search, data.train))
    assert weights.isdisjoint(search) and weights | search == train
    assert len(train) == (limit or count) and len(search) == round(fraction * len(train))
    assert max(train) < count <= min(numbers_of(data.open_test().images))
    for split in (data.weights, data.search):
        shares = np.bincount(split.images.labels, minlength=classes) / len(split)
        whole = np.bincount(data.train.images.labels, minlength=classes) / len(train)
        assert np.abs(shares - whole).max() <= 1 / len(split) + 1e-9


def test_the_seed_alone_decides() -> None:
    same = [numbers_of(Data(raw(), 8, seed=3).search.images) for _ in range(2)]
    assert same[0] == same[1] != numbers_of(Data(raw(), 8, seed=4).search.images)


def test_the_test_split_opens_once() -> None:
    data = Data(raw(), resolution=8, seed=0)
    assert len(data.open_test()) == 100
    with pytest.raises(training_data.TestSplitOpened):
        data.open_test()


def test_inputs_are_normalised_by_the_training_images_alone() -> None:
    data = Data(raw(), resolution=8, seed=0)
    x = torch.cat([x for x, _ in data.train.plain()])
    assert x.mean().abs() < 1e-4 and abs(x.std() - 1) < 1e-3
    assert x.is_contiguous(memory_format=torch.channels_last)
    pixels = raw().train.pixels / 255
    assert data.mean.item() == pytest.approx(pixels.mean(), rel=1e-5)
    assert data.std.item() == pytest.approx(pixels.std(), rel=1e-5)


def test_an_epoch_visits_images_once_in_an_order_of_its_generator() -> None:
    split = Data(raw(), resolution=8, seed=0).weights
    labels = [torch.cat([y for _, y in split.epoch(32, torch.Generator().manual_seed(s))]) for s in (1, 1, 2)]
    assert torch.equal(labels[0], labels[1]) and not torch.equal(labels[0], labels[2])
    assert len(labels[0]) == len(split) // 32 * 32


def test_plain_is_everything_once_in_order_at_the_asked_resolution() -> None:
    split = Data(raw(), resolution=16, seed=0).search
    parts = list(split.plain(64))
    assert sum(len(y) for _, y in parts) == len(split)
    assert all(x.shape[1:] == (1, 16, 16) for x, _ in parts)
    assert torch.equal(torch.cat([y for _, y in parts]), torch.from_numpy(split.images.labels))


@pytest.mark.parametrize("flip", [True, False])
def test_augment_moves_pixels_and_keeps_shape_and_order(flip: bool) -> None:
    """Every output is a shifted, perhaps mirrored, copy of its own input."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (20, 3, 16, 16), generator=generator, dtype=torch.uint8)
    moved = augment(pixels, flip, generator)
    assert moved.shape == pixels.shape and moved.dtype == torch.uint8
    mirrored = 0
    for before, after in zip(pixels, moved, strict=True):
        candidates = {False: before, True: before.flip(-1)} if flip else {False: before}
        matches = [m for m, image in candidates.items() if any(_shifted(image, after))]
        assert matches
        mirrored += matches == [True]
    assert (0 < mirrored < 20) if flip else mirrored == 0


def _shifted(image: torch.Tensor, moved: torch.Tensor):
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
    for top in range(5):
        for left in range(5):
            yield torch.equal(padded[:, top : top + 16, left : left + 16], moved)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(BadInput):
        Data(raw(10, 5), resolution=8, seed=0, search_fraction=0.25, limit=4)
    with pytest.raises(BadInput):
        next(Data(raw(100), resolution=8, seed=0).search.epoch(64, torch.Generator()))


@pytest.mark.parametrize("settings", [{"limit": 0}, {"limit": -5}, {"search_fraction": 1.5}, {"no_such": 1}])
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        open_data("digits", settings, resolution=8, seed=0)
