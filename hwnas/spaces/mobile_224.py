"""The mobile space of the ProxylessNAS paper: 224 pixels, 21 blocks, 6⁶·7¹⁵ ≈ 2.2e17 networks (arXiv:1812.00332)."""

from typing import Literal

from hwnas.spaces.mobile import Mobile, MobileSettings


class Mobile224Settings(MobileSettings):
    resolution: int = 224
    stem_width: int = 32
    first_width: int = 16
    widths: tuple[int, ...] = (24, 40, 80, 96, 192, 320)
    depths: tuple[int, ...] = (4, 4, 4, 4, 4, 1)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2, 1)
    head_width: int = 1280
    weights: Literal["shared", "separate"] = "separate"


class Mobile224(Mobile):
    Settings = Mobile224Settings
