"""Re-estimated batch-norm statistics are the data's own, and an architecture step leaves none behind."""

import torch
from torch import nn

from hwnas.training.batch_norm import batch_norms, reestimate, statistics_kept
from hwnas.training.compute import Device
from hwnas.training.settings import Compute

DEVICE = Device(Compute(device="cpu", threads=1))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3, momentum=0.3)
    )
    for norm in batch_norms(net):
        nn.init.uniform_(norm.running_mean, 5, 9)  # of some other path
    return net


def batches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(16, 2, 8, 8, generator=generator) * (1 + i) + i for i in range(count)]


def test_statistics_are_the_average_over_batches() -> None:
    """The first layer's, computed directly: mean of batch means, mean of unbiased batch variances."""
    net, inputs = network(), batches(5)
    reestimate(net, batch_norms(net), inputs, DEVICE)
    with torch.no_grad():
        outputs = [net[0](x) for x in inputs]
    mean = torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0)
    variance = torch.stack([y.var((0, 2, 3), unbiased=True) for y in outputs]).mean(0)
    assert torch.allclose(net[1].running_mean, mean, atol=1e-5)
    assert torch.allclose(net[1].running_var, variance, rtol=1e-4)


def test_deeper_layers_see_normalised_inputs() -> None:
    """As in training, each batch passes with its own statistics; the second norm's follow from that."""
    net, inputs = network(), batches(5)
    reestimate(net, batch_norms(net), inputs, DEVICE)
    with torch.no_grad():
        outputs = [net[3](net[2](nn.functional.batch_norm(net[0](x), None, None, training=True))) for x in inputs]
    mean = torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0)
    assert torch.allclose(net[4].running_mean, mean, atol=1e-4)


def test_momentum_mode_and_weights_are_as_before() -> None:
    net = network().train()
    weights = [p.clone() for p in net.parameters()]
    reestimate(net, batch_norms(net), batches(2), DEVICE)
    assert [norm.momentum for norm in batch_norms(net)] == [0.1, 0.3]
    assert not net.training
    assert all(torch.equal(p, before) for p, before in zip(net.parameters(), weights, strict=True))


def test_only_the_norms_named_are_replaced() -> None:
    net = network()
    reestimate(net, batch_norms(net)[:1], batches(2), DEVICE)
    assert net[1].num_batches_tracked == 2
    assert net[1].running_mean.max() < 5


def test_statistics_kept() -> None:
    net = network().train()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with statistics_kept(net):
        net(batches(1)[0])
        assert not torch.equal(net[1].running_mean, before["1.running_mean"])
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
