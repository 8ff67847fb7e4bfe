"""Quantisation-aware fine-tuning: what it computes is what the int8 file computes, and it mends what rounding costs."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from hwnas.core.errors import BadInput
from hwnas.exporters.onnx_int8 import OnnxInt8
from hwnas.formats import Int8Form
from hwnas.run.config import resolve
from hwnas.run.rounding import fit_rounding
from hwnas.testing.estimator import small_means
from hwnas.training.compute import Device
from hwnas.training.network import accuracy, train
from hwnas.training.rounding import Rounded, round_activation, round_weight
from hwnas.training.settings import Compute, Recipe

CPU = Device(Compute(device="cpu", threads=1))
MEANS = small_means(Path())


def trained() -> nn.Module:
    torch.manual_seed(5)
    network = MEANS.space.build(MEANS.space.reference())
    return train(network, MEANS.data.train, Recipe(epochs=3, batch_size=32), CPU, seed=1, label="t")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained()


@pytest.mark.parametrize("form", ["u8s7", "s8s8"])
def test_it_computes_what_the_file_computes(network: nn.Module, form: Int8Form, tmp_path: Path) -> None:
    """Runtimes sum in another order, and a sum on the edge of a step falls to either side: so nearly, not exactly."""
    images = MEANS.data.train.spread(128).contiguous()
    OnnxInt8(form).export(network, images, tmp_path / "m.onnx", {})
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # s8s8 too, on CPUs without VNNI
    session = ort.InferenceSession(tmp_path / "m.onnx", options, providers=["CPUExecutionProvider"])
    theirs = np.asarray(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
    with torch.no_grad():
        ours = Rounded(network, images, form)(images).numpy()
        exact = network(images).numpy()
    error = np.abs(ours - theirs)
    assert error.mean() < 0.25 * np.abs(exact - theirs).mean() or error.mean() < 1e-3
    first, second = np.sort(theirs, 1)[:, :-3:-1].T
    clear = first - second > 16 * error.mean()
    assert clear.mean() > 0.5
    assert (ours.argmax(1) == theirs.argmax(1))[clear].all()


def test_values_are_on_the_grid_and_gradients_pass_straight_through() -> None:
    x = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0, 9.0], requires_grad=True)
    y = round_activation(x, -1.0, 2.0, "u8s7")
    y.sum().backward()
    steps = y.detach() / (3 / 255)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert y[2] == 0  # padding stays exact
    assert y.min() >= -1.01 and y.max() <= 2.01
    assert x.grad is not None and x.grad.tolist() == [0, 1, 1, 1, 1, 0]
    weight = torch.tensor([[1.0, -0.503], [100.0, 0.3], [0.0, 0.0]], requires_grad=True)
    rounded = round_weight(weight, "u8s8")
    rounded.sum().backward()
    assert torch.allclose(rounded, torch.tensor([[1.0, -64 / 127], [100.0, 0.0], [0.0, 0.0]]), atol=1e-5)
    assert torch.allclose(round_weight(weight, "u8s7")[0], torch.tensor([1.0, -32 / 63]), atol=1e-5)
    assert weight.grad is not None and weight.grad.tolist() == [[1, 1]] * 3


def test_statistics_stay_and_weights_learn(network: nn.Module) -> None:
    rounded = Rounded(network, MEANS.data.train.spread(32), "u8s7").train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    rounded(MEANS.data.train.spread(32)).square().sum().backward()
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
    assert all(p.grad is not None for p in network.parameters())
    network.zero_grad(set_to_none=True)


class Cancelling(nn.Module):
    """Logits that are a small difference of large numbers, each of which is rounded."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(256, 24), nn.ReLU())
        self.ours, self.theirs = nn.Linear(24, 10), nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return self.ours(h) - self.theirs(h)


def sensitive(large: float) -> nn.Module:
    torch.manual_seed(0)
    network = Cancelling()
    train(network, MEANS.data.train, Recipe(epochs=12, batch_size=32), CPU, seed=1, label="t")
    with torch.no_grad():
        noise = large * torch.randn(10, 24)
        network.ours.weight += noise
        network.theirs.weight += noise
    return network


def test_it_mends_what_rounding_costs() -> None:
    network, data = sensitive(20.0), MEANS.data
    rounded = Rounded(network, data.train.spread(128), "u8s7")
    exact, before = (accuracy(n, data.search.plain(), CPU) for n in (network, rounded))
    assert before < exact - 0.01
    recipe = Recipe(epochs=8, batch_size=32, learning_rate=0.005, warmup_epochs=0)
    train(rounded, data.weights, recipe, CPU, 2, "t", told=lambda epoch: rounded.calibrate())
    assert accuracy(rounded, data.search.plain(), CPU) > before + 0.05


def test_resumed_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    def fit(path: Path | None, stop: int | None) -> dict[str, torch.Tensor]:
        network = trained()
        rounded = Rounded(network, MEANS.data.train.spread(64), "u8s7")
        recipe = Recipe(epochs=3, batch_size=32, learning_rate=0.005, warmup_epochs=0)

        def told(epoch) -> None:
            rounded.calibrate()
            if epoch.number == stop:
                raise KeyboardInterrupt

        train(rounded, MEANS.data.weights, recipe, CPU, 2, "t", path, told=told)
        return network.state_dict()

    straight = fit(None, None)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "c", 2)
    resumed = fit(tmp_path / "c", None)
    assert [key for key, tensor in straight.items() if not torch.equal(tensor, resumed[key])] == []


def test_a_network_that_cannot_be_traced_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(BadInput, match="traced"):
        Rounded(Branching(), torch.zeros(2, 1, 4, 4), "u8s7")


@pytest.mark.parametrize(("large", "rate", "helps"), [(20.0, 0.005, True), (20.0, 1e6, False)])
def test_it_is_kept_only_when_it_helps(large: float, rate: float, helps: bool, tmp_path: Path) -> None:
    network = sensitive(large)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    sets = (f"rounding.learning_rate={rate}", "rounding.epochs=8", "rounding.batch_size=32")
    path = tmp_path / "c.safetensors"
    facts = fit_rounding(network, "u8s7", MEANS.data, resolve({}, None, sets), CPU, "fit", path, None)
    assert facts is not None and facts["unfitted"] < facts["exact"] - 0.01
    assert (facts["int8"] > facts["unfitted"]) == helps
    kept = [torch.equal(before[key], tensor) for key, tensor in network.state_dict().items()]
    assert all(kept) != helps
    assert not network.training and not path.exists()


def test_where_rounding_costs_nothing_nothing_is_done(tmp_path: Path) -> None:
    network = sensitive(0.0)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    facts = fit_rounding(network, "u8s7", MEANS.data, resolve({}), CPU, "fit", tmp_path / "c", None)
    assert facts is not None and facts["int8"] == facts["unfitted"]
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())
