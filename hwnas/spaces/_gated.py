"""A gated cell as a space of one choice, its width: the hand-made networks beside searched cells."""

from typing import ClassVar

from torch import Tensor, nn

from hwnas.core.arch import Arch, Choice
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Conditional, Gates, Space, Window
from hwnas.spaces._recurrent import Reader, RecurrentSettings, RecurrentSpace


class GatedSettings(RecurrentSettings):
    widths: tuple[int, ...] | None = None
    """None: in steps of about a thirtieth, up to half as wide again as `hidden`."""

    def all_widths(self) -> tuple[int, ...]:
        step = max(1, self.hidden // 32)
        return tuple(sorted(set(self.widths or range(step, 3 * self.hidden // 2 + 1, step)) | {self.hidden}))


class GatedSpace(RecurrentSpace):
    """Narrowest first. `kind`: of the cell's operator; `states`: numbers of its state a hidden unit."""

    Settings = GatedSettings
    settings: GatedSettings
    kind: ClassVar[str]
    states: ClassVar[int]
    mixable = False

    def __init__(self, settings: GatedSettings, channels: int, classes: int) -> None:
        super().__init__(settings, channels, classes)
        self.widths = settings.all_widths()
        self.input_shape = (1 + self.states * settings.hidden,)
        self.choices = (Choice("width", tuple(map(str, self.widths))),)

    def operators(self) -> tuple[Conditional, ...]:
        specs = ((option, spec) for option, width in enumerate(self.widths) for spec in self._specs(width))
        return tuple(Conditional(spec, ((0, option),)) for option, spec in specs)

    def _specs(self, width: int) -> tuple[OpSpec, OpSpec, OpSpec]:
        embedding, words = self.ends(width)
        return embedding, OpSpec.of(self.kind, ((1 + self.states) * width,), hidden=width), words

    def shape_of(self, arch: Arch) -> tuple[int, ...]:
        return (1 + self.states * self.widths[arch[0]],)

    def build(self, arch: Arch) -> nn.Module:
        self.check(arch)
        embedding, cell, words = self._specs(width := self.widths[arch[0]])
        return Reader((embedding, words), build(cell), self.states * width, self.settings)

    def supernet(self) -> nn.Module:
        return Widths(self)

    def inherited(self, supernet: nn.Module, arch: Arch) -> dict[str, Tensor]:
        assert isinstance(supernet, Widths)
        return supernet.networks[arch[0]].state_dict(keep_vars=True)

    def reference(self) -> Arch:
        """As wide as the setting `hidden`."""
        return (self.widths.index(self.settings.hidden),)

    def baseline(self) -> "Space | None":
        return self


class Widths(nn.Module):
    """One network a width: nothing is shared."""

    def __init__(self, space: GatedSpace) -> None:
        super().__init__()
        self.networks = nn.ModuleList(space.build((width,)) for width in range(len(space.widths)))

    def forward(self, x: Tensor | Window, gates: Gates) -> Tensor:
        (width,) = gates[0]
        return self.networks[width](x)
