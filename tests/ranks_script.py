"""What each rank of test_ranks.py runs: `torchrun … ranks_script.py FOLDER CHECK…`. Rank 0 prints what they found."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hwnas.core.errors import BadInput
from hwnas.testing.estimator import small_means
from hwnas.training import checkpoint
from hwnas.training.batch_norm import batch_norms, reestimate
from hwnas.training.compute import Device
from hwnas.training.joint_norm import joined
from hwnas.training.network import score, train
from hwnas.training.ranks import here
from hwnas.training.settings import Compute
from hwnas.training.supernet import SharedWeights
from hwnas.training.text import TextSplit


def messages(folder: Path) -> dict:
    """Sums, means and what rank 0 tells; rank 1 alone has other files, numbers and records."""
    ranks = here()
    mine = folder / f"{ranks.rank}"
    mine.mkdir()
    tensors = [torch.full((2, 3), float(ranks.rank)), torch.tensor(10.0 * ranks.rank)]
    ranks.average(tensors)
    if ranks.writer:
        checkpoint.save(mine / "c", {"model": {"w": torch.arange(3.0)}}, {"epoch": 4})
    read = ranks.load(mine / "c")
    journal = ranks.journal(mine / "journal.jsonl")
    journal.append("trial", arch=[1])
    facts = {
        "averages": [tensor.unique().tolist() for tensor in tensors],
        "sums": ranks.sums(1, ranks.rank),
        "told": ranks.told(lambda: {"rank": ranks.rank}),
        "read": [read[0]["model"]["w"].tolist(), read[1]],
        "none": ranks.load(mine / "nothing"),
        "records": [record["arch"] for record in journal.of("trial")],
        "slice": [ranks.slice_of(8).start, ranks.slice_of(8).stop],
    }
    (folder / f"facts{ranks.rank}.json").write_text(json.dumps(facts))
    ranks.sums(0)
    return {"facts": [json.loads((folder / f"facts{r}.json").read_text()) for r in range(2)]}


def norms(folder: Path) -> dict:
    """A joint batch norm on slices, in float64: output, gradients and statistics of all ranks together."""
    ranks = here()
    net, x = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None)).double(), inputs()
    with joined(net, ranks):
        found = passed(net, x[ranks.slice_of(8)])
    gradients = [parameter.grad for parameter in net.parameters()]
    ranks.average(gradients)
    plain = all("forward" not in vars(norm) for norm in net)
    return {
        "output": ranks.gathered(found[0]).flatten(0, 1).tolist(),
        "input gradient": (ranks.gathered(found[1]).flatten(0, 1) / ranks.size).tolist(),
        "gradients": [gradient.tolist() for gradient in gradients],
        "statistics": {key: tensor.tolist() for key, tensor in net.state_dict().items()},
        "plain again": plain,
    }


def inputs() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, 4, 5, generator=generator, dtype=torch.float64) * 3 + 100


def passed(net: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, and the gradient in x of the mean of its weighted squares."""
    x = x.clone().requires_grad_()
    y = net.train()(x)
    (y**3 + y).mean().backward()
    return y.detach(), x.grad


def trained(folder: Path) -> dict:
    """One network, its averages' statistics estimated anew, judged by all ranks."""
    means = small_means(folder)
    torch.manual_seed(0)
    network = means.space.build(means.space.reference()).double()
    recipe = means.recipe.model_copy(update={"epochs": 2, "ema_decay": 0.9, "clip": 1.0})
    epochs = []
    loss = nn.CrossEntropyLoss()
    train(AsDouble(network), means.data.train, recipe, means.device, 0, "t", None, loss, told=epochs.append)
    norms = batch_norms(network)
    return {
        "losses": [epoch.loss for epoch in epochs],
        "score": score(AsDouble(network), means.data.search, means.device),
        "statistics": [norm.running_var.sum().item() for norm in norms],
        "weights": [parameter.sum().item() for parameter in network.parameters()],
    }


def apart(folder: Path) -> dict:
    """Batch norms over each rank's slice: other statistics than one rank's, but the same on both."""
    means = small_means(folder)
    network = means.space.build(means.space.reference())
    device = Device(Compute(device="cpu", threads=1, batch_norm="apart"))
    train(network, means.data.train, means.recipe, device, 0, "t")
    statistics = torch.cat([norm.running_var for norm in batch_norms(network)])
    return {"ranks": here().gathered(statistics).tolist()}


class AsDouble(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.double())


def judged(folder: Path) -> dict:
    """A single path of shared weights, with statistics of its own."""
    means = small_means(folder)
    weights = SharedWeights(means.space, means.data, means.recipe, means.device, 0)
    network = means.space.build(means.space.reference())
    batches = (x for x, _ in means.data.weights.share(here()).epoch(32, torch.Generator().manual_seed(3)))
    reestimate(network, batch_norms(network), batches, means.device)
    statistics = [norm.running_mean.sum().item() for norm in batch_norms(network)]
    return {"accuracy": weights.accuracy(means.space.reference()), "statistics": statistics}


def parted(folder: Path) -> dict:
    """Each rank's weights are other ones: that is noticed by all."""
    ranks = here()
    try:
        ranks.require_agreement([torch.tensor([1.0, -torch.inf]), torch.tensor(float(ranks.rank))])
    except BadInput as error:
        return {"refused": ranks.sums(1), "what": error.what}
    return {"refused": ranks.sums(0)}


def text(folder: Path) -> dict:
    """A window begins in the state of the one before it."""
    try:
        TextSplit(np.arange(100), span=5).share(here())
    except BadInput as error:
        return {"refused": error.what}
    return {"refused": ""}


def failing(folder: Path) -> dict:
    """Rank 1 dies while rank 0 waits for it."""
    ranks = here()
    if ranks.rank == 1:
        raise SystemExit(3)
    return {"never": ranks.sums(1)}


CHECKS = {f.__name__: f for f in (messages, norms, trained, apart, judged, parted, text, failing)}

if __name__ == "__main__":
    outcomes = {name: CHECKS[name](Path(sys.argv[1])) for name in sys.argv[2:]}
    if here().writer:
        print(json.dumps(outcomes))
