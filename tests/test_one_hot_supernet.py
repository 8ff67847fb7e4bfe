"""A path of the supernet is the standalone network: for a hundred random architectures, to the last bit."""

from random import Random

import pytest
import torch

from hwnas.core.config import validate
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.space import perturbed, same_outputs


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels last"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"weights": "separate"}, {"squeeze_excite": True, "activation": "hardswish"}],
    ids=["shared", "separate", "squeeze-excite"],
)
def test_random_architectures(settings: dict[str, object], layout: torch.memory_format) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    space = Mobile(validate(MobileSettings, settings, "space"), channels=3, classes=10)
    count = 30 if settings else 100
    same_outputs(space, perturbed(space.supernet()), [space.random(Random(seed)) for seed in range(count)], layout)


def test_inherited_weights_are_the_supernets_own() -> None:
    """Shared, not copied: what a path learns, every network that inherits it has."""
    space = Mobile(MobileSettings(), channels=1, classes=10)
    net = space.supernet()
    state = space.inherited(net, space.reference())
    owned = {p.untyped_storage().data_ptr() for p in net.parameters()} | {
        b.untyped_storage().data_ptr() for b in net.buffers()
    }
    assert all(tensor.untyped_storage().data_ptr() in owned for tensor in state.values())
    assert state.keys() == space.build(space.reference()).state_dict().keys()


def test_a_smaller_option_is_the_middle_and_the_first_channels_of_the_largest() -> None:
    space = Mobile(MobileSettings(), channels=1, classes=10)
    net = space.supernet()
    labels = space.choices[1].options
    small, large = (
        space.inherited(net, (0, labels.index(label), *space.reference()[2:])) for label in ("mbconv3_3", "mbconv7_6")
    )
    block = space.choices[1].name
    expand, depthwise, project = (f"{block}.{part}.conv.weight" for part in ("expand", "depthwise", "project"))
    half = len(small[expand])
    assert len(large[expand]) == 2 * half
    assert torch.equal(small[expand], large[expand][:half])
    assert torch.equal(small[depthwise], large[depthwise][:half, :, 2:5, 2:5])
    assert torch.equal(small[project], large[project][:, :half])
