"""Our networks are the published ones: counts that papers and authors state."""

import pytest

from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.spaces.mobile_224 import Mobile224, Mobile224Settings
from hwnas.spaces.mobilenet_v2 import MobilenetV2, MobilenetV2Settings


def test_proxylessnas_space() -> None:
    """arXiv:1812.00332: 21 blocks, Zero in all but a stage's first; the published networks have 320M to 465M MACs."""
    space = Mobile224(Mobile224Settings(), channels=3, classes=1000)
    assert [len(c.options) for c in space.choices].count(7) == 15
    assert [len(c.options) for c in space.choices].count(6) == 6
    assert space.size() == 6**6 * 7**15  # 2.2e17
    largest = tuple(c.options.index("mbconv7_6") for c in space.choices)
    smallest = tuple(c.options.index("zero" if "zero" in c.options else "mbconv3_3") for c in space.choices)
    assert space.macs(smallest) < 320e6 < 465e6 < space.macs(space.reference()) < 500e6 < space.macs(largest) < 620e6
    assert 4e6 < space.params(space.reference()) < 5e6


@pytest.mark.parametrize(
    ("width", "resolution", "macs_millions", "params_millions"),
    [(1.0, 224, 300, 3.47), (1.0, 128, 99, 3.47), (1.4, 224, 582, 6.06), (0.75, 160, 107, 2.61), (0.5, 224, 97, 1.95)],
)
def test_mobilenet_v2(width: float, resolution: int, macs_millions: float, params_millions: float) -> None:
    """arXiv:1801.04381 (300M MACs and 3.4M parameters at width 1) and the table beside the authors' checkpoints.

    Below width 1 the published head keeps 1280 channels where ours narrows too: the difference is added.
    """
    settings = MobilenetV2Settings(resolution=resolution, total_stride=32, divisor=8, multipliers=(width,))
    space = MobilenetV2(settings, channels=3, classes=1000)
    *_, head, _ = space.ops((0,))
    channels, height, _ = head.input_shape
    missing = max(0, 1280 - head.attributes()["out"])
    macs = space.macs((0,)) + missing * (channels * height**2 + 1000)
    params = space.params((0,)) + missing * (channels + 2 + 1000)
    assert macs / 1e6 == pytest.approx(macs_millions, rel=0.02)
    assert params / 1e6 == pytest.approx(params_millions, rel=0.02)


def test_mobilenet_v2_to_the_last_parameter() -> None:
    """torchvision's mobilenet_v2 has 3,504,872."""
    space = MobilenetV2(MobilenetV2Settings(resolution=224, total_stride=32, multipliers=(1.0,), divisor=8), 3, 1000)
    assert space.params(space.reference()) == 3_504_872


def test_the_default_space_is_a_small_version() -> None:
    space = Mobile(MobileSettings(), channels=3, classes=10)
    assert len(space.choices) == 12 and space.size() == 6**5 * 7**7
    assert space.input_shape == (3, 32, 32)
