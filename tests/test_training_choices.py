"""How networks are trained: distillation, a start from the supernet, an early end where nothing is learned."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import hwnas
from torch import nn
from torch.nn import functional as F

from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal
from hwnas.run.config import resolve
from hwnas.run.stages import Run
from hwnas.run.tensorboard import TensorBoard
from hwnas.testing.estimator import small_means
from hwnas.training import checkpoint
from hwnas.training.compute import Device
from hwnas.training.distillation import Distillation, soft_loss
from hwnas.training.divergence import PATIENCE, Epoch, check_learning
from hwnas.training.network import train
from hwnas.training.settings import Compute, Recipe

CPU = Device(Compute(device="cpu", threads=1))
RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=0.05)


def network(seed: int = 5) -> nn.Module:
    means = small_means(Path())
    torch.manual_seed(seed)
    return means.space.build(means.space.reference())


def test_the_soft_loss_by_hand() -> None:
    """Two classes, T = 2: p = σ(t/2) = 0.7311, q = 0.5; T²·KL = 4·(p ln p/q + (1−p) ln (1−p)/(1−q)) = 0.4433."""
    found = soft_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]]), 2.0)
    p = torch.sigmoid(torch.tensor(1.0))
    by_hand = 4 * (p * torch.log(p / 0.5) + (1 - p) * torch.log((1 - p) / 0.5))
    assert float(found) == pytest.approx(float(by_hand), abs=1e-6) == pytest.approx(0.4433, abs=2e-3)
    assert float(soft_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0]]), 2.0)) == pytest.approx(0, abs=1e-6)


def test_soft_gradients_do_not_shrink_with_the_temperature() -> None:
    """At high T the gradient tends to (s − t)/classes, whatever T (section 2.1, for logits of mean 0)."""
    teacher, student = torch.tensor([[1.0, -1.0, 0.0]]), torch.zeros(1, 3, requires_grad=True)
    for temperature in (50.0, 200.0):
        (gradient,) = torch.autograd.grad(soft_loss(student, teacher, temperature), student)
        assert torch.allclose(gradient, -teacher / 3, atol=0.01)


def test_a_student_learns_from_its_teacher_alone() -> None:
    """With all the weight on the soft part, labels do not matter: the student comes to agree with its teacher."""
    split = small_means(Path()).data.train
    recipe, images = Recipe(epochs=12, batch_size=32), split.spread(400)

    def linear(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(256, 10))

    def nonsense(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, (labels + 1) % 10)

    teacher = train(linear(1), split, recipe, CPU, seed=1, label="t")
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    distillation = Distillation(teacher, 4.0, 1.0, CPU)
    student = train(linear(2), split, recipe, CPU, 1, "t", None, nonsense, distillation)
    with torch.no_grad():
        assert (student(images).argmax(1) == teacher(images).argmax(1)).float().mean() > 0.9
    assert all(torch.equal(before[key], tensor) for key, tensor in teacher.state_dict().items())


def test_a_resumed_distillation_ends_in_the_same_bits(tmp_path: Path) -> None:
    distillation, split = Distillation(network(1), 4.0, 0.5, CPU), small_means(Path()).data.train
    straight = train(network(), split, RECIPE, CPU, 1, "t", None, None, distillation).state_dict()

    def stop(epoch: Epoch) -> None:
        if epoch.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), split, RECIPE, CPU, 1, "t", tmp_path / "c", None, distillation, stop)
    resumed = train(network(), split, RECIPE, CPU, 1, "t", tmp_path / "c", None, distillation).state_dict()
    assert [key for key, tensor in straight.items() if not torch.equal(tensor, resumed[key])] == []


def epochs(*losses: float) -> list[Epoch]:
    return [Epoch(number, loss, 2.3, 0.1) for number, loss in enumerate(losses)]


def test_what_counts_as_divergence() -> None:
    for fine in (epochs(2.3), epochs(6.8), epochs(*[2.3] * (PATIENCE - 1)), epochs(*[2.3] * 4, 2.2, *[2.3] * 4)):
        check_learning("t", fine, "training.learning_rate")
    for wrong in (epochs(2.0, 7.0), epochs(*[2.3] * PATIENCE), epochs(1.0, *[2.29] * PATIENCE)):
        with pytest.raises(BadInput) as caught:
            check_learning("t", wrong, "training.learning_rate")
        assert caught.value.mend == "lower the rate: --set training.learning_rate=0.01"
    check_learning("t", [Epoch(0, 5.0, -1.0, 0.1)], "training.learning_rate")  # a loss of the user's own


def test_epochs_are_told_with_their_loss_and_chance() -> None:
    told: list[Epoch] = []
    train(network(), small_means(Path()).data.train, RECIPE, CPU, 1, "t", told=told.append)
    assert [epoch.number for epoch in told] == [0, 1, 2]
    assert told[-1].loss < told[0].loss
    assert all(epoch.chance == pytest.approx(2.3026, abs=1e-3) for epoch in told)


def test_a_run_that_diverges_ends_early_and_again(workspace: Path) -> None:
    command = ("run", "--config", "tiny.yaml", "--out", "r", "--strategy", "random", "--set", "strategy.trials=2")
    command += ("--set", "training.learning_rate=3000", "--set", "training.epochs=9")
    for _ in range(2):
        outcome = hwnas(*command)
        assert outcome.code == 2 and "training.learning_rate=" in outcome.stderr, outcome.stderr
    told = list(Journal(Path("r/journal.jsonl")).of("training"))
    assert 1 <= len(told) < 9
    assert len({(t["role"], t["epoch"]) for t in told}) == len(told)


def test_networks_start_from_the_supernet(workspace: Path) -> None:
    """Winner and reference do; the narrowed MobileNetV2 has no weights there."""
    config = resolve({}, workspace / "tiny.yaml", ("training.start=supernet", "training.epochs=1"))
    with Run(config, workspace / "r") as run:
        networks = run.train()
        space, trainer = run.space, run._trainer
        weights, _ = checkpoint.load(run.directory.checkpoints / "trial" / "supernet.safetensors")
        supernet = space.supernet()
        supernet.load_state_dict(weights["model"])
        for network in networks:
            module = network.space.build(network.arch)
            fresh = {key: tensor.clone() for key, tensor in module.state_dict().items()}
            trainer._start(module, network)
            mine = network.space is space
            expected = space.inherited(supernet, network.arch) if mine else fresh
            assert all(torch.equal(expected[key], tensor) for key, tensor in module.state_dict().items())


def test_no_supernet_to_start_from_is_told_before_any_work(bare: Path) -> None:
    command = ("run", "--config", "tiny.yaml", "--strategy", "random", "--set", "training.start=supernet")
    refused = hwnas(*command)
    assert refused.code == 2 and "training.start=scratch" in refused.stderr
    assert hwnas(*command, "--set", "estimator=shared-weights", "--dry-run").code == 0


def test_a_teacher_is_trained_first_and_not_compared(workspace: Path) -> None:
    sets = ("training.teacher=largest", "strategy.trials=2")
    config = resolve({"strategy": "random"}, workspace / "tiny.yaml", sets)
    with Run(config, workspace / "r") as run:
        networks = run.train()
        roles = list(dict.fromkeys(record["role"] for record in run.journal.of("training")))
        teacher = run.journal.last("training", role="teacher")
        most = max(run.space.macs(tuple(r["arch"])) for r in run.journal.of("trial"))
    assert roles[0] == "teacher" and "teacher" not in [network.role for network in networks]
    assert teacher and run.space.macs(tuple(teacher["arch"])) >= most


def test_missing_tensorboard_says_what_to_install(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    refused = hwnas("run", "--config", "tiny.yaml", "--set", "tensorboard=true", "--out", "r")
    assert refused.code == 4 and "pip install 'hwnas[tensorboard]'" in refused.stderr


def test_tensorboard_shows_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there was and what comes, from the start at every run; the writer is a double here."""
    seen: list[tuple[str, float, int]] = []
    writer = SimpleNamespace(add_scalar=lambda *scalar: seen.append(scalar), flush=lambda: None)
    double = SimpleNamespace(SummaryWriter=lambda folder: writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", double)
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("epoch", epoch=0, expected=0.5, entropy=1.0, collapsing=False)
    TensorBoard(tmp_path / "tensorboard", journal)
    journal.append("trial", arch=[0], accuracy=0.5, predicted=1.5, predicted_p95=1.6)
    journal.append("trial", arch=[1], accuracy=0.75, predicted=1.25, predicted_p95=1.3)
    journal.append("training", role="winner", arch=[1], epoch=3, loss=0.25, chance=2.3, learning_rate=0.1)
    assert seen == [
        ("search/expected", 0.5, 0),
        ("search/entropy", 1.0, 0),
        ("search/accuracy", 0.5, 0),
        ("search/predicted_ms", 1.5, 0),
        ("search/accuracy", 0.75, 1),
        ("search/predicted_ms", 1.25, 1),
        ("train/winner/loss", 0.25, 3),
        ("train/winner/learning_rate", 0.1, 3),
    ]
