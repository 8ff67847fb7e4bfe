"""What every space must do: its architectures, its operators and its networks tell one story."""

from pathlib import Path
from random import Random
from unittest import SkipTest

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hwnas.core.arch import Arch
from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space, Window, single_path

ARCHS = 3
"""Random networks a check."""
CHANNELS, CLASSES = 3, 7


def open_space(name: str, channels: int = CHANNELS, classes: int = CLASSES) -> Space:
    """With its default settings; one that reads text has no channels."""
    plugin = load("spaces", name)
    channels = 0 if plugin.reads_text else channels
    return plugin(validate(plugin.Settings, {}, "space"), channels=channels, classes=classes)


def noise(space: Space, arch: Arch, batch: int) -> Tensor:
    """Of the shape that the network takes."""
    return torch.randn(batch, *space.shape_of(arch))


def outputs(space: Space, arch: Arch, classes: int) -> int:
    """Classes; of text also the state, as long as that of the input."""
    return classes + (space.shape_of(arch)[0] - 1 if space.reads_text else 0)


def check_settings(name: str, folder: Path) -> None:
    """Defaults are complete, and a setting that does not exist is refused."""
    settings = load("spaces", name).Settings
    validate(settings, {}, "space")
    try:
        validate(settings, {"no_such_setting": 1}, "space")
    except BadInput:
        return
    raise AssertionError("an unknown setting was accepted: let Settings derive from hwnas.core.config.Settings")


def check_moves(name: str, folder: Path) -> None:
    """Random, mutant and child are valid; the same random stream gives the same; a mutant differs."""
    space = open_space(name)

    def walk(seed: int) -> list[Arch]:
        rng = Random(seed)
        archs = [space.random(rng), space.random(rng)]
        for _ in range(50):
            mutant = space.mutate(archs[-1], rng, 0.2)
            assert mutant != archs[-1] or space.size() == 1, "a mutant equals its parent"
            archs += [mutant, space.crossover(archs[-2], mutant, rng)]
        return archs

    assert walk(1) == walk(1), "the same random stream gives other architectures"
    for arch in walk(2):
        assert space.valid(arch), f"{arch} is not valid"
        assert space.describe(arch).keys() == {choice.name for choice in space.choices}, "two choices share a name"


def check_operators(name: str, folder: Path) -> None:
    """An architecture's operators are among the space's, conditions name real options, and keys can be read back."""
    space = open_space(name)
    for conditional in space.operators():
        assert OpSpec.parse(str(conditional.spec)) == conditional.spec, f"{conditional.spec} cannot be read back"
        for choice, option in conditional.when:
            assert 0 <= option < len(space.choices[choice].options), f"{conditional.spec} hangs on nothing"
    profiled = {conditional.spec for conditional in space.operators()}
    for arch in _archs(space):
        assert space.ops(arch) and set(space.ops(arch)) <= profiled


def check_networks(name: str, folder: Path) -> None:
    """[batch, channels, height, width] → [batch, classes] at any batch, for other channels and classes too. Of text,
    [batch, 1 + state] → [batch, words + state].
    """
    for channels, classes in ((CHANNELS, CLASSES), (1, 2)):
        space = open_space(name, channels, classes)
        assert space.reads_text or space.input_shape[0] == channels
        arch = space.random(Random(3))
        network = space.build(arch).eval()
        for batch in (1, 2, 7):
            with torch.no_grad():
                out = network(noise(space, arch, batch))
            expected = (batch, outputs(space, arch, classes))
            assert out.shape == expected, f"the output of a batch of {batch} is {list(out.shape)}"
            assert out.isfinite().all()


def check_reading(name: str, folder: Path) -> None:
    """Words read as windows, or one by one with the state handed on, get the same logits; a window goes on where the
    one before it ended, and read again it starts there again.
    """
    space = open_space(name)
    if not space.reads_text:
        raise SkipTest("of spaces that read text")
    for arch in _archs(space):
        network = space.build(arch).eval()
        words = torch.randint(CLASSES, (1, 9), generator=torch.Generator().manual_seed(0))
        steps = space.seen(network, Window(words))
        assert steps.shape == (9, *space.shape_of(arch)) and torch.equal(steps[:, 0], words[0].float())
        states: dict[int, Tensor] = {}
        parts = [Window(words[:, :4], 0, states=states), Window(words[:, 4:], 1, states=states)]
        with torch.no_grad():
            alone = network(steps)[:, :CLASSES]
            together = torch.cat([network(part) for part in parts])
            again = network(parts[1])
        assert torch.allclose(alone, together, atol=1e-5), f"{arch}: windows and steps differ"
        assert torch.equal(again, together[4:]), f"{arch}: a window read twice starts elsewhere"


def check_counts(name: str, folder: Path) -> None:
    """Parameters and multiply-accumulates, summed over operators, equal torch's count of the whole network."""
    space = open_space(name)
    for arch in _archs(space):
        network = space.build(arch).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(noise(space, arch, 1))
        assert space.params(arch) == sum(p.numel() for p in network.parameters()), arch
        assert space.macs(arch) == counter.get_total_flops() // 2, arch


def check_inheritance(name: str, folder: Path) -> None:
    """One path of the supernet equals the standalone network that inherits its weights, bit for bit."""
    space = open_space(name)
    for layout in (torch.contiguous_format, torch.channels_last)[: 1 if space.reads_text else 2]:
        same_outputs(space, perturbed(space.supernet()), _archs(space), layout)


def check_mixing(name: str, folder: Path) -> None:
    """Weighted options: gates that matter get gradients, 1 beside 0 is the plain path, and order does not matter."""
    space = open_space(name)
    if not space.mixable:
        raise SkipTest("of spaces whose options can be mixed")
    net = perturbed(space.supernet()).eval()
    x = torch.randn(2, *space.input_shape)
    first, second = (tuple(end % len(c.options) for c in space.choices) for end in (0, -1))
    pairs = list(enumerate(zip(first, second, strict=True)))

    one_hot = {c: {a: torch.tensor(1.0), b: torch.tensor(0.0)} if a != b else {a: None} for c, (a, b) in pairs}
    with torch.no_grad():
        assert torch.equal(net(x, one_hot), net(x, single_path(first)))

    leaves = [torch.tensor([0.3, 0.7], requires_grad=True) for _ in pairs]
    mixed = {c: {a: leaves[c][0], b: leaves[c][1]} if a != b else {a: None} for c, (a, b) in pairs}
    swapped = {c: dict(reversed(paths.items())) for c, paths in mixed.items()}
    out = net(x, mixed)
    assert torch.allclose(out, net(x, swapped), atol=1e-5)
    out.square().sum().backward()
    for choice, (a, b) in pairs:
        grad = leaves[choice].grad
        matters = a != b and (_changes(space, first, choice, b) or _changes(space, second, choice, a))
        assert not matters or (grad is not None and grad.isfinite().all()), f"no gradient for choice {choice}"


def _changes(space: Space, arch: Arch, choice: int, option: int) -> bool:
    """Whether this option there would make another network of it."""
    return space.function(arch) != space.function((*arch[:choice], option, *arch[choice + 1 :]))


def check_references(name: str, folder: Path) -> None:
    """The hand-made network is in the space; the hand-made family, if there is one, goes from narrow to wide."""
    space = open_space(name)
    assert space.valid(space.reference())
    family = space.baseline()
    if family is None:
        return
    assert len(family.choices) == 1 and (space.reads_text or family.input_shape == space.input_shape)
    macs = [family.macs((width,)) for width in range(len(family.choices[0].options))]
    assert macs == sorted(macs), "the family is not ordered from narrow to wide"
    with torch.no_grad():
        out = family.build((0,)).eval()(noise(family, (0,), 2))
    assert out.shape == (2, outputs(family, (0,), CLASSES))


def perturbed(net: nn.Module) -> nn.Module:
    """Batch-norm statistics and affine parameters as after training: fresh ones would hide a mistake."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var, module.bias, module.running_mean):
                    assert isinstance(tensor, Tensor)
                    tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator))
    return net


def same_outputs(space: Space, supernet: nn.Module, archs: list[Arch], layout: torch.memory_format) -> None:
    """AssertionError where a standalone network with inherited weights differs from the supernet's path at all."""
    supernet.to(memory_format=layout).eval()  # type: ignore[call-overload]
    for arch in archs:
        x = noise(space, arch, 2).contiguous(memory_format=layout)
        network = space.build(arch).to(memory_format=layout).eval()  # type: ignore[call-overload]
        network.load_state_dict(space.inherited(supernet, arch))
        with torch.no_grad():
            ours, theirs = supernet(x, single_path(arch)), network(x)
        assert torch.equal(ours, theirs), f"{arch} in {layout}: differs by {(ours - theirs).abs().max():.2g}"


def _archs(space: Space) -> list[Arch]:
    rng = Random(7)
    return [space.reference(), *(space.random(rng) for _ in range(ARCHS))]
