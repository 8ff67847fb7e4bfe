"""The global space of NAS-RL (Zoph & Le 2017, arXiv:1611.01578, section 3) and of large-scale evolution (Real et al.
2017, arXiv:1703.01041, section 3.2): whole networks of plain convolutions, of any depth, width, filter and stride.

Stages of elastic depth; a layer is a convolution, batch norm and ReLU. Choices: where the resolution is halved
(`strides`), each stage's depth, and each layer's filter size, number of filters and skip. A skip goes around its layer
and is added to its output, by a 1×1 convolution where shapes differ (ResNet's, arXiv:1512.03385).
A stage is shortened at its front: its last layer is always there, so that the next stage's input hangs on one choice.
That keeps an operator to five conditions, and the default space to some two thousand operators.

Kept of NAS-RL: filter size, number of filters and skip of every layer, strides, depth. Not kept: filters that are not
square, which few runtimes have fast kernels for; skips over several layers, concatenated, for an operator that reads
them would hang on every layer before it. Kept of large-scale evolution: its start, a network next to nothing, which is
the fastest one here (a 1×1 convolution a stage). Not kept: parallel branches, layers without a ReLU.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from functools import cached_property
from itertools import product
from typing import NamedTuple

from pydantic import Field, model_validator
from torch import Tensor, nn

from hwnas.core.arch import Arch, Choice
from hwnas.core.config import Settings
from hwnas.operators import build, output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Conditional, Space
from hwnas.spaces._sliced import Layer, LayerSpecs, SlicedSupernet, Stack
from hwnas.spaces.mobilenet_v2 import MobilenetV2

When = tuple[tuple[int, int], ...]
STRIDES = 0
"""The first choice."""


class ChainSettings(Settings):
    resolution: int = Field(default=32, ge=8)
    stem_width: int = Field(default=16, ge=1)
    stem_stride: int = Field(default=2, ge=1, le=2)
    depth: int = Field(default=3, ge=1)
    """Most layers of a stage; the least is one."""
    kernels: tuple[int, ...] = (1, 3, 5)
    """NAS-RL: 1, 3, 5, 7."""
    widths: tuple[int, ...] = (16, 32, 64)
    """NAS-RL: 24, 36, 48, 64."""
    strides: tuple[tuple[int, ...], ...] = ((1, 2, 2), (2, 1, 2), (2, 2, 1), (2, 2, 2))
    """What may be chosen: one entry a stage each."""

    @model_validator(mode="after")
    def _can_be_sliced(self) -> "ChainSettings":
        for options in (self.kernels, self.widths, self.strides):
            if not options or list(options) != sorted(set(options)):
                raise ValueError("kernels, widths and strides must rise")
        if min(self.kernels + self.widths) < 1 or any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError("kernels must be odd and widths positive")
        stages = {len(strides) for strides in self.strides}
        if len(stages) > 1 or 0 in stages or not {*sum(self.strides, ())} <= {1, 2}:
            raise ValueError("each of strides needs one entry a stage, 1 or 2")
        return self


class Place(NamedTuple):
    """A layer, and its choices. Stages and layers count from 1; the last layers of a stage are there."""

    stage: int
    layer: int
    depth: int
    kernel: int
    width: int
    skip: int

    @property
    def name(self) -> str:
        return f"stage{self.stage}_layer{self.layer}"


class Way(NamedTuple):
    """How a layer may stand: under which conditions, on an input of which shape, with which stride."""

    when: When
    shape: tuple[int, int, int]
    stride: int


class Chain(Space):
    Settings = ChainSettings
    mixable = False
    is_chain = False

    def __init__(self, settings: ChainSettings, channels: int, classes: int) -> None:
        self.settings, self.classes = settings, classes
        self.input_shape = (channels, settings.resolution, settings.resolution)
        s, names = settings, tuple("-".join(map(str, strides)) for strides in settings.strides)
        choices, self.stages = [Choice("strides", names, "stride")], list[tuple[Place, ...]]()
        for stage in range(1, len(s.strides[0]) + 1):
            depth = len(choices)
            choices.append(Choice(f"stage{stage}_depth", tuple(map(str, range(1, s.depth + 1))), "depth"))
            first = depth + 1
            layers = (Place(stage, i + 1, depth, *range(first + 3 * i, first + 3 * i + 3)) for i in range(s.depth))
            self.stages.append(tuple(layers))
            for place in self.stages[-1]:
                choices.append(Choice(f"{place.name}_kernel", tuple(map(str, s.kernels)), "kernel"))
                choices.append(Choice(f"{place.name}_width", tuple(map(str, s.widths)), "width"))
                choices.append(Choice(f"{place.name}_skip", ("no", "yes"), "skip"))
        self.choices = tuple(choices)

    @cached_property
    def stem(self) -> OpSpec:
        s = self.settings
        return OpSpec.of("conv", self.input_shape, out=s.stem_width, kernel=3, stride=s.stem_stride, act="relu")

    @cached_property
    def ways(self) -> dict[Place, tuple[Way, ...]]:
        """Of every layer, in forward order; not more than one holds."""
        return {place: tuple(self._ways(place)) for stage in self.stages for place in stage}

    def _ways(self, place: Place) -> Iterator[Way]:
        most, stage = self.settings.depth, self.stages[place.stage - 1]
        for option, strides in enumerate(self.settings.strides):
            for depth in range(most - place.layer + 1, most + 1):
                leads = depth == most - place.layer + 1
                source = self._last(place.stage - 1) if leads else stage[place.layer - 2]
                size = self._size(strides[: place.stage - 1] if leads else strides[: place.stage])
                for when, channels in self._widths(source):
                    there = ((STRIDES, option), (place.depth, depth - 1))
                    yield Way((*there, *when), (channels, size, size), strides[place.stage - 1] if leads else 1)

    def _last(self, stage: int) -> Place | None:
        """The layer that leaves a stage; None for the stem."""
        return self.stages[stage - 1][-1] if stage else None

    def _widths(self, place: Place | None) -> list[tuple[When, int]]:
        """The channels that may leave a layer, and when."""
        if place is None:
            return [((), self.settings.stem_width)]
        return [(((place.width, option),), width) for option, width in enumerate(self.settings.widths)]

    def _size(self, strides: tuple[int, ...]) -> int:
        size = output_shape(self.stem)[1]
        for stride in strides:
            size = -(-size // stride)
        return size

    @cached_property
    def _ends(self) -> list[tuple[When, OpSpec]]:
        """Classifiers, and when."""
        return [
            (((STRIDES, option), *when), OpSpec.of("classifier", (width, size, size), classes=self.classes))
            for option, strides in enumerate(self.settings.strides)
            for size in [self._size(strides)]
            for when, width in self._widths(self._last(len(self.stages)))
        ]

    def operators(self) -> tuple[Conditional, ...]:
        return self._conditionals

    @cached_property
    def _conditionals(self) -> tuple[Conditional, ...]:
        s, found = self.settings, [Conditional(self.stem)]
        for place, ways in self.ways.items():
            for way, (option, width) in product(ways, enumerate(s.widths)):
                when = (*way.when, (place.width, option))
                kernels = [
                    Conditional(_main(way, k, width), (*when, (place.kernel, i))) for i, k in enumerate(s.kernels)
                ]
                found += [*kernels, Conditional(_shortcut(way, width), (*when, (place.skip, 1)))]
        return (*found, *(Conditional(spec, when) for when, spec in self._ends))

    def stack(self, arch: Arch) -> Stack:
        """The network: the layers that are there, and the classifier."""
        layers: dict[str, LayerSpecs] = {}
        for place, ways in self.ways.items():
            way = next((way for way in ways if _holds(way.when, arch)), None)
            if way is not None:
                kernel, width = self.settings.kernels[arch[place.kernel]], self.settings.widths[arch[place.width]]
                shortcut = _shortcut(way, width) if arch[place.skip] else None
                layers[place.name] = LayerSpecs(_main(way, kernel, width), shortcut)
        return Stack(layers, next(spec for when, spec in self._ends if _holds(when, arch)))

    def build(self, arch: Arch) -> nn.Module:
        layers, classifier = self.stack(self.check(arch))
        built = {name: Layer(specs) for name, specs in layers.items()}
        return nn.Sequential(OrderedDict(stem=build(self.stem), **built, classifier=build(classifier)))

    def supernet(self) -> nn.Module:
        s = self.settings
        options = {
            place.name: [
                LayerSpecs(_main(*option), _shortcut(option[0], option[2]))
                for option in product(ways, s.kernels, s.widths)
            ]
            for place, ways in self.ways.items()
        }
        return SlicedSupernet(self.stem, options, [spec for _, spec in self._ends], self.stack)

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        assert isinstance(supernet, SlicedSupernet)
        return supernet.path_state(arch)

    def function(self, arch: Arch) -> Hashable:
        """What would stand in a layer that is not there does not matter."""
        absent = {
            choice
            for place, ways in self.ways.items()
            if not any(_holds(way.when, arch) for way in ways)
            for choice in (place.kernel, place.width, place.skip)
        }
        return tuple(0 if choice in absent else option for choice, option in enumerate(arch))

    def reference(self) -> Arch:
        """As a ResNet: full depth, 3×3 filters, twice as many wherever the resolution is halved late, skips."""
        s, arch = self.settings, [0] * len(self.choices)
        kernel = min(range(len(s.kernels)), key=lambda i: abs(s.kernels[i] - 3))
        for number, stage in enumerate(self.stages):
            for place in stage:
                arch[place.depth], arch[place.kernel], arch[place.skip] = s.depth - 1, kernel, 1
                arch[place.width] = min(number, len(s.widths) - 1)
        return tuple(arch)

    def baseline(self) -> Space:
        """Real MobileNetV2 at this resolution, by width multiplier."""
        s, (channels, resolution, _) = self.settings, self.input_shape
        return MobilenetV2.beside(resolution, channels, self.classes, s.stem_stride, s.strides[0])


def _holds(when: When, arch: Arch) -> bool:
    return all(arch[choice] == option for choice, option in when)


def _main(way: Way, kernel: int, width: int) -> OpSpec:
    return OpSpec.of("conv", way.shape, out=width, kernel=kernel, stride=way.stride, act="relu")


def _shortcut(way: Way, width: int) -> OpSpec:
    if way.stride == 1 and way.shape[0] == width:
        return OpSpec.of("skip", way.shape)
    return OpSpec.of("conv", way.shape, out=width, kernel=1, stride=way.stride, act="none")
