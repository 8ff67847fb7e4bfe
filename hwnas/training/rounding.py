"""Quantisation-aware fine-tuning: training goes on while every step computes what the int8 file will compute.

Rounded in the forward pass, straight through in the backward one (Jacob et al. 2018, arXiv:1712.05877, section 3;
Bengio et al. 2013, arXiv:1308.3432): q(x) = s·(clip(round(x/s) + z) − z), ∂q/∂x = 1 inside the clip and 0 outside. As
`formats/int8.py` writes the file: weights symmetric, one scale an output channel; activations one scale a tensor, over
the range that calibration images reach; what a ReLU reads and what a batch norm reads is not rounded.

Batch norm keeps its statistics, as the file does: folded into the convolution, it scales a channel's weight and its
step alike, so rounding the weight before or after is the same. Deviation from the paper: ranges come from the same
images after every epoch, and are no moving average.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError

from hwnas.core.errors import BadInput
from hwnas.formats import Int8Form, weight_steps

_MOVES = ("chunk", "flatten", "getitem", "permute", "reshape", "squeeze", "transpose", "unsqueeze", "view")
_MOVING = (nn.Flatten, nn.Identity, nn.Dropout, nn.MaxPool2d)
_CLIPS = (nn.ReLU, nn.ReLU6, nn.Hardtanh)
_BATCH = 64


class Rounded(nn.Module):
    """`network`'s own modules, computing as in int8. Trained in place, it trains the network.

    `samples`: [n, channels, height, width] inputs that show the ranges. Raises BadInput where the network cannot be
    traced.
    """

    ranges: Tensor
    """[nodes, 2]; saved with the weights, so that a training that goes on has the same."""

    def __init__(self, network: nn.Module, samples: Tensor, form: Int8Form) -> None:
        super().__init__()
        try:
            self.traced = fx.symbolic_trace(network)
        except (TraceError, TypeError) as error:
            raise BadInput(f"the network cannot be traced, so it cannot learn to be rounded: {error}") from error
        self.form: Int8Form = form
        self.names = list(_rounded(self.traced))
        self.register_buffer("ranges", torch.zeros(len(self.names), 2))
        self._samples = samples
        self.eval()
        self.calibrate()

    def train(self, mode: bool = True) -> "Rounded":
        self.training = mode  # and of its modules none: statistics stay
        return self

    def forward(self, x: Tensor) -> Tensor:
        return _Rounding(self).run(x)

    @torch.no_grad()
    def calibrate(self) -> None:
        """Ranges of the exact network, as it is now; they hold 0. Raises BadInput when one is not finite."""
        device = next(self.traced.parameters()).device
        parts = []
        for start in range(0, len(self._samples), _BATCH):
            seen = _Seeing(self.traced)
            seen.run(self._samples[start : start + _BATCH].to(device))
            parts.append(torch.tensor([seen.ends.get(name, (0.0, 0.0)) for name in self.names]))
        low, high = torch.stack(parts)[..., 0].amin(0), torch.stack(parts)[..., 1].amax(0)
        self.ranges.copy_(torch.stack([low.clamp_max(0), high.clamp_min(0)], dim=1))
        if not torch.isfinite(self.ranges).all():
            raise BadInput("the network computes values without end", "--set rounding.learning_rate=SMALLER")


class _Seeing(fx.Interpreter):
    """Remembers the smallest and the largest value of every node."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.ends: dict[str, tuple[float, float]] = {}

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.is_floating_point():
            self.ends[n.name] = float(value.min()), float(value.max())
        return value


class _Rounding(fx.Interpreter):
    def __init__(self, rounded: Rounded) -> None:
        super().__init__(rounded.traced)
        self.form: Int8Form = rounded.form
        self.ranges = dict(zip(rounded.names, rounded.ranges.tolist(), strict=True))

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if n.name in self.ranges and isinstance(value, Tensor):
            low, high = self.ranges[n.name]
            return round_activation(value, low, high, self.form)
        return value

    def call_module(self, target: object, args: tuple, kwargs: dict) -> object:
        module = self.fetch_attr(str(target))
        if isinstance(module, nn.Conv2d | nn.Linear):
            return torch.func.functional_call(module, {"weight": round_weight(module.weight, self.form)}, args, kwargs)
        return module(*args, **kwargs)


def round_activation(x: Tensor, low: float, high: float, form: Int8Form) -> Tensor:
    """`low` ≤ 0 ≤ `high`: what the range holds."""
    if form != "s8s8":
        scale = (high - low) / 255 or 1.0
        return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)
    return torch.fake_quantize_per_tensor_affine(x, max(-low, high) / 127 or 1.0, 0, -128, 127)


def round_weight(weight: Tensor, form: Int8Form) -> Tensor:
    """[out, …]: one scale an output channel."""
    steps = weight_steps(form)
    largest = weight.detach().abs().flatten(1).amax(1)
    scale = torch.where(largest > 0, largest / steps, torch.ones_like(largest))
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -steps, steps)


def _rounded(traced: fx.GraphModule) -> Iterator[str]:
    """Names of the nodes that the file rounds."""
    modules = dict(traced.named_modules())

    def is_a(node: fx.Node, kinds: tuple[type[nn.Module], ...]) -> bool:
        return node.op == "call_module" and isinstance(modules[str(node.target)], kinds)

    for node in traced.graph.nodes:
        moves = is_a(node, _MOVING) or getattr(node.target, "__name__", str(node.target)) in _MOVES
        folded = all(is_a(user, (nn.BatchNorm2d, *_CLIPS)) for user in node.users)
        if node.op not in ("output", "get_attr") and not moves and not folded:
            yield node.name
