"""Layers of a chain whose widths are chosen, and a supernet that slices them.

A narrower or smaller convolution is the first channels and the middle of the largest (`operators/shared.py`); batch
norm is each width's own (slimmable networks, arXiv:1812.08928). Slices cannot be mixed, so a path is a whole network.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.core.arch import Arch
from hwnas.operators import build
from hwnas.operators.basic import ConvNorm, activation
from hwnas.operators.opspec import OpSpec
from hwnas.operators.shared import cut
from hwnas.spaces import Gates


class LayerSpecs(NamedTuple):
    """`shortcut`: around it; None for none."""

    main: OpSpec
    shortcut: OpSpec | None


class Layer(nn.Module):
    """The sum of a layer and of what goes around it."""

    def __init__(self, specs: LayerSpecs) -> None:
        super().__init__()
        self.main = build(specs.main)
        self.shortcut = build(specs.shortcut) if specs.shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.main(x)
        return y if self.shortcut is None else y + self.shortcut(x)


class Stack(NamedTuple):
    """A network: its layers by name, in forward order, between the stem and the classifier."""

    layers: dict[str, LayerSpecs]
    classifier: OpSpec


class SlicedConv(nn.Module):
    """As any of the `conv` operators `specs`, by slices of one weight; their strides and activations are their own."""

    def __init__(self, specs: Iterable[OpSpec]) -> None:
        super().__init__()
        facts = [(spec.input_shape[0], spec.attributes()["out"], spec.attributes()["kernel"]) for spec in specs]
        channels, out, kernel = (max(sizes) for sizes in zip(*facts, strict=True))
        self.conv = ConvNorm(channels, out, kernel).conv
        self.norms = nn.ModuleDict({str(width): nn.BatchNorm2d(width) for width in sorted({f[1] for f in facts})})

    def forward(self, x: Tensor, spec: OpSpec) -> Tensor:
        facts = spec.attributes()
        y = F.conv2d(x, self._weight(spec), None, facts["stride"], facts["kernel"] // 2)
        y = self.norms[str(facts["out"])](y)
        return y if facts["act"] == "none" else activation(facts["act"])(y)

    def state(self, spec: OpSpec) -> dict[str, Tensor]:
        """Of `build(spec)`; the tensors are shared."""
        norm = self.norms[str(spec.attributes()["out"])].state_dict(prefix="norm.", keep_vars=True)
        return {"conv.weight": self._weight(spec), **norm}

    def _weight(self, spec: OpSpec) -> Tensor:
        facts = spec.attributes()
        return cut(self.conv.weight, facts["out"], spec.input_shape[0], facts["kernel"])


class SlicedSupernet(nn.Module):
    """`forward(x, gates)`, one option a choice. `options`: all that may stand in a layer. `stack(arch)`: a network."""

    def __init__(
        self,
        stem: OpSpec,
        options: dict[str, list[LayerSpecs]],
        classifiers: Iterable[OpSpec],
        stack: Callable[[Arch], Stack],
    ) -> None:
        super().__init__()
        self.stack, self.stem = stack, build(stem)
        self.mains = nn.ModuleDict({name: SlicedConv(o.main for o in found) for name, found in options.items()})
        shortcuts = {
            name: [o.shortcut for o in found if o.shortcut and o.shortcut.kind == "conv"]
            for name, found in options.items()
        }
        self.shortcuts = nn.ModuleDict({name: SlicedConv(specs) for name, specs in shortcuts.items() if specs})
        self.classifiers = nn.ModuleDict({str(spec.input_shape[0]): build(spec) for spec in classifiers})

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        layers, classifier = self.stack(tuple(_only(gates[choice]) for choice in range(len(gates))))
        x = self.stem(x)
        for name, (main, shortcut) in layers.items():
            y = self.mains[name](x, main)
            if shortcut is not None:
                y = y + (x if shortcut.kind == "skip" else self.shortcuts[name](x, shortcut))
            x = y
        return self.classifiers[str(classifier.input_shape[0])](x)

    def path_state(self, arch: Arch) -> dict[str, Tensor]:
        """The state dict of the plain network."""
        layers, classifier = self.stack(arch)
        parts = {
            "stem": self.stem.state_dict(keep_vars=True),
            "classifier": self.classifiers[str(classifier.input_shape[0])].state_dict(keep_vars=True),
        }
        for name, (main, shortcut) in layers.items():
            parts[f"{name}.main"] = _state(self.mains[name], main)
            if shortcut is not None and shortcut.kind == "conv":
                parts[f"{name}.shortcut"] = _state(self.shortcuts[name], shortcut)
        return {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}


def _state(module: nn.Module, spec: OpSpec) -> dict[str, Tensor]:
    assert isinstance(module, SlicedConv)
    return module.state(spec)


def _only(paths: Mapping[int, Tensor | None]) -> int:
    ((option, gate),) = paths.items()
    assert gate is None, "slices cannot be weighted"
    return option
