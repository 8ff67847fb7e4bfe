"""The training loop: resumed it ends in the same bits; EMA, bf16 and a diverging loss do what they say."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hwnas.core.errors import BadInput
from hwnas.testing.estimator import small_means
from hwnas.training import checkpoint
from hwnas.training.compute import Device
from hwnas.training.network import accuracy, train
from hwnas.training.schedule import learning_rate
from hwnas.training.settings import Compute, Recipe

RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=0.05)
CPU = Device(Compute(device="cpu", threads=1))


class Stopped(Exception):
    """As if the process was killed."""


def network() -> nn.Module:
    means = small_means(Path())
    torch.manual_seed(5)
    return means.space.build(means.space.reference())


def trained(recipe: Recipe = RECIPE, device: Device = CPU, path: Path | None = None, loss=None) -> nn.Module:
    return train(network(), small_means(Path()).data.train, recipe, device, seed=1, label="t", path=path, loss=loss)


def stop_after(steps: int):
    """A loss that stops the process in the middle of an epoch."""
    taken = 0

    def loss(logits, labels):
        nonlocal taken
        taken += 1
        if taken > steps:
            raise Stopped
        return nn.functional.cross_entropy(logits, labels, label_smoothing=RECIPE.label_smoothing)

    return loss


@pytest.mark.parametrize("ema_decay", [None, 0.9], ids=["plain", "average"])
@pytest.mark.parametrize("steps", [5, 13, 30])
def test_a_resumed_training_ends_in_the_same_bits(tmp_path: Path, ema_decay: float | None, steps: int) -> None:
    """12 steps an epoch: stopped in the first, the second and the third."""
    recipe = RECIPE.model_copy(update={"ema_decay": ema_decay})
    straight = trained(recipe).state_dict()
    with pytest.raises(Stopped):
        trained(recipe, path=tmp_path / "c.safetensors", loss=stop_after(steps))
    resumed = trained(recipe, path=tmp_path / "c.safetensors").state_dict()
    assert [key for key, tensor in straight.items() if not torch.equal(tensor, resumed[key])] == []


def test_a_complete_training_is_loaded_and_not_repeated(tmp_path: Path) -> None:
    done = trained(path=tmp_path / "c.safetensors").state_dict()
    again = trained(path=tmp_path / "c.safetensors", loss=stop_after(0)).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in done.items())


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trained(path=path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:100]):
        path.write_bytes(damaged)
        with pytest.raises(BadInput):
            trained(path=path)


def test_it_learns() -> None:
    net = trained(RECIPE.model_copy(update={"epochs": 10, "learning_rate": 0.1}))
    assert accuracy(net, small_means(Path()).data.train.plain(), CPU) > 0.6


def test_the_average_is_of_the_last_weights() -> None:
    """Every weight against the average computed here, step by step, from the plain training's weights."""
    seen: list[dict[str, torch.Tensor]] = []
    net = network()

    def watching(logits, labels):
        seen.append({name: p.detach().clone() for name, p in net.named_parameters()})
        return nn.functional.cross_entropy(logits, labels)

    data = small_means(Path()).data.train
    train(net, data, RECIPE, CPU, seed=1, label="t", loss=watching)
    seen.append({name: p.detach().clone() for name, p in net.named_parameters()})
    average = dict(seen[0])
    for step, weights in enumerate(seen[1:], start=1):
        decay = min(0.9, step / (step + 9))
        average = {name: decay * old + (1 - decay) * weights[name] for name, old in average.items()}

    averaged = trained(RECIPE.model_copy(update={"ema_decay": 0.9}), loss=nn.functional.cross_entropy)
    for name, parameter in averaged.named_parameters():
        assert torch.allclose(parameter, average[name], atol=1e-5), name


def test_bf16_on_the_cpu() -> None:
    """Weights and statistics stay float32, and it trains to about the same."""
    device = Device(Compute(device="cpu", threads=1, bf16=True))
    recipe = RECIPE.model_copy(update={"epochs": 10, "learning_rate": 0.1})
    net = trained(recipe, device)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in net.state_dict().values())
    data = small_means(Path()).data.train
    assert accuracy(net, data.plain(), device) > 0.6
    assert any(not torch.equal(a, b) for a, b in zip(net.parameters(), trained(recipe).parameters(), strict=True))


def test_a_diverging_loss_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        trained(RECIPE.model_copy(update={"learning_rate": 1e12}))
    assert "learning_rate" in caught.value.mend


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    rates = [learning_rate(RECIPE, step, 10) for step in range(30)]
    assert 0 < rates[0] < rates[5] < max(rates) <= RECIPE.learning_rate
    assert max(rates) == pytest.approx(RECIPE.learning_rate)
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] < 0.02 * max(rates)


def test_a_checkpoint_is_read_in_one_order_by_every_process(tmp_path: Path) -> None:
    """Ranks add up what they hold, and the library's own order is by a hash that each process draws."""
    names = [f"choice{number}" for number in range(20)]
    checkpoint.save(tmp_path / "c.safetensors", {"companion": {name: torch.zeros(1) for name in names}}, {})
    groups, _ = checkpoint.load(tmp_path / "c.safetensors")
    assert list(groups["companion"]) == sorted(names)
