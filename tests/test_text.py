"""Text as windows, and training on it: every word once, averages and perplexities by hand, resumed to the same bits."""

from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hwnas.core.errors import BadInput
from hwnas.spaces import Window
from hwnas.spaces.rnn_cell import RnnCell, RnnCellSettings
from hwnas.training.averaging import NonMonotone
from hwnas.training.compute import Device
from hwnas.training.datasets import RawText
from hwnas.training.network import accuracy, perplexity, train
from hwnas.training.schedule import clip_gradient, learning_rate
from hwnas.training.settings import Compute, Recipe
from hwnas.training.text import TextData, TextSplit

CPU = Device(Compute(device="cpu", threads=1))
WORDS, SPAN = 12, 35
RECIPE = Recipe(epochs=3, batch_size=4, learning_rate=2.0, momentum=0.0, label_smoothing=0.0, clip=0.25)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def text(count: int, seed: int = 0) -> np.ndarray:
    """A word mostly decides the next."""
    rng, found = np.random.default_rng(seed), [0]
    while len(found) < count:
        found.append((5 * found[-1] + 1 + int(rng.integers(2))) % WORDS)
    return np.array(found, np.int64)


def data() -> TextData:
    return TextData(RawText(text(900), text(300, 1), text(300, 2), tuple(map(str, range(WORDS)))))


def network() -> nn.Module:
    space = RnnCell(RnnCellSettings(hidden=8, nodes=(2,)), 0, WORDS)
    torch.manual_seed(3)
    return space.build(space.reference())


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 2000))
def test_a_judgement_asks_for_every_word_once(count: int) -> None:
    """But for the first, and what does not fill the rows: fewer than there are rows."""
    split = TextSplit(np.arange(count), SPAN)
    asked = torch.cat([labels for _, labels in split.plain()])
    assert len(asked) == split.samples > count - 1 - 16
    assert sorted(asked.tolist()) == list(range(1, split.samples + 1))


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2 * SPAN + 1, 3000), rows=st.integers(1, 8), seed=st.integers(0, 9))
def test_an_epoch_has_as_many_windows_as_its_length_says(count: int, rows: int, seed: int) -> None:
    split = TextSplit(np.arange(count), SPAN)
    expected = len(split) // rows
    if expected == 0:
        with pytest.raises(BadInput, match="too short"):
            list(split.epoch(rows, generator(seed)))
        return
    batches = list(split.epoch(rows, generator(seed)))
    assert len(batches) == expected
    assert all(x.words.shape == (rows, SPAN) and torch.equal(x.words.flatten() + 1, y) for x, y in batches)
    joined = torch.cat([x.words for x, _ in batches], 1)
    assert torch.equal(joined[:, 1:], joined[:, :-1] + 1), "windows of a row follow one another"
    again = torch.cat([x.words for x, _ in split.epoch(rows, generator(seed))], 1)
    assert torch.equal(joined, again)


def test_epochs_begin_at_different_places() -> None:
    split = TextSplit(np.arange(500), SPAN)
    starts = {int(next(split.epoch(2, generator(seed)))[0].words[0, 0]) for seed in range(20)}
    assert len(starts) > 5 and max(starts) < SPAN


@settings(max_examples=40, deadline=None)
@given(count=st.integers(-1, 30), seed=st.integers(0, 9))
def test_a_part_is_as_long_as_asked_and_in_a_row(count: int, seed: int) -> None:
    split = TextSplit(np.arange(800), SPAN)
    if not 1 <= count <= len(split):
        with pytest.raises(BadInput, match="no part"):
            split.part(count, seed)
        return
    part = split.part(count, seed)
    assert len(part) == count and set(torch.diff(part.words).tolist()) <= {1}
    assert torch.equal(part.words, split.part(count, seed).words)


def test_dropout_hangs_on_the_window_alone() -> None:
    net, words = network().train(), torch.randint(WORDS, (2, 6), generator=generator())
    first, same, other = (net(Window(words, noise=noise)) for noise in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    net.eval()
    assert torch.equal(net(Window(words, noise=1)), net(Window(words, noise=2)))


class Uniform(nn.Module):
    def forward(self, x: Window) -> torch.Tensor:
        return torch.zeros(x.words.numel(), WORDS)


class Certain(nn.Module):
    """Gives the next number 3/4, the others what is left."""

    def forward(self, x: Window) -> torch.Tensor:
        logits = torch.full((x.words.numel(), WORDS), log(0.25 / (WORDS - 1)))
        return logits.scatter(1, (x.words.flatten()[:, None] + 1) % WORDS, log(0.75))


def test_perplexity_by_hand() -> None:
    """Of a uniform guess the number of words; of one that gives the right word 3/4, or a wrong one, their mean."""
    assert perplexity(Uniform(), data().search.plain(), CPU) == pytest.approx(WORDS, rel=1e-5)
    right = TextSplit(np.arange(161) % WORDS, SPAN)
    assert perplexity(Certain(), right.plain(), CPU) == pytest.approx(4 / 3, rel=1e-5)
    assert accuracy(Certain(), right.plain(), CPU) == 1
    half = TextSplit(np.array([0, 1, 0, 1, 0], np.int64), SPAN)  # from 1 to 0 is wrong
    expected = exp(-(log(0.75) + log(0.25 / (WORDS - 1))) / 2)
    assert perplexity(Certain(), half.plain(), CPU) == pytest.approx(expected, rel=1e-5)


def test_final_networks_never_train_on_what_tells_them_when_to_average() -> None:
    splits = data()
    assert splits.train is splits.weights and splits.train.guide is splits.search
    assert splits.open_test() is not splits.search


def test_it_learns() -> None:
    splits, net = data(), network()
    before = perplexity(net, splits.search.plain(), CPU)
    train(net, splits.train, RECIPE.model_copy(update={"epochs": 8, "learning_rate": 10.0}), CPU, seed=1, label="t")
    assert perplexity(net, splits.search.plain(), CPU) < 0.5 * before


@pytest.mark.parametrize("own", [{}, {"non_monotone": 0, "schedule": "constant"}, {"ema_decay": 0.9}], ids=str)
def test_a_resumed_training_ends_in_the_same_bits(tmp_path: Path, own: dict[str, object]) -> None:
    """Killed in the middle of the second epoch."""
    recipe, path, taken = RECIPE.model_copy(update={"epochs": 4, **own}), tmp_path / "c.safetensors", 0

    def stopping(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken > 8:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(logits, labels)

    straight = train(network(), data().train, recipe, CPU, seed=1, label="t").state_dict()
    with pytest.raises(KeyboardInterrupt):
        train(network(), data().train, recipe, CPU, seed=1, label="t", path=path, loss=stopping)
    resumed = train(network(), data().train, recipe, CPU, seed=1, label="t", path=path).state_dict()
    assert [key for key, tensor in straight.items() if not torch.equal(tensor, resumed[key])] == []


def test_averaging_begins_when_the_loss_stops_falling() -> None:
    """Patience 1: the fourth loss is worse than the best of the first two. From then on, the mean of the weights."""
    net = nn.Linear(1, 1, bias=False)
    average = NonMonotone(net, patience=1)
    for step, loss in enumerate([5.0, 3.0, 4.0, 3.5, 3.4, 3.0]):
        with torch.no_grad():
            net.weight.fill_(float(step))
        average.update(net)
        average.epoch_done(net, lambda loss=loss: loss)
        assert average.averaging == (step >= 3)
    assert average.losses == [5.0, 3.0, 4.0, 3.5], "once it averages it need not look"
    assert average.weights["weight"].item() == pytest.approx((3 + 4 + 5) / 3)


def test_images_have_nothing_to_tell_when_to_average(tmp_path: Path) -> None:
    from hwnas.testing.estimator import small_means

    means = small_means(tmp_path)
    recipe = Recipe(epochs=1, batch_size=32, non_monotone=0)
    with pytest.raises(BadInput, match="non_monotone is for text"):
        train(means.space.build(means.space.reference()), means.data.train, recipe, CPU, seed=1, label="t")


def test_the_gradient_is_cut_to_its_largest_norm() -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for size, expected in ((10.0, 0.25), (0.01, 0.01 * 8**0.5)):
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, size)
        clip_gradient(optimizer, RECIPE)
        norm = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).norm()
        assert norm.item() == pytest.approx(expected, rel=1e-3)


def test_a_constant_rate_stays_behind_the_warm_up() -> None:
    recipe = RECIPE.model_copy(update={"schedule": "constant"})
    rates = [learning_rate(recipe, step, 10) for step in range(30)]
    assert rates[0] < rates[5] < rates[10] and set(rates[10:]) == {recipe.learning_rate}
