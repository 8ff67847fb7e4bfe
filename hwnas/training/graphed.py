"""A supernet step whose kernels a CUDA graph replays.

A mixture of all options is thousands of small kernels, which the GPU runs faster than Python launches them. Their order
is the same in every step, so they are captured once (torch.cuda.make_graphed_callables) and replayed, backward pass
included. A step that runs single paths holds other kernels each time, and runs as ever; so does one that reads a window
of text, which begins in a state and drops by a mask of its own. The gradients of all replays lie in the same memory:
use them, or copy them, before the next.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from hwnas.spaces import Gates, Space, Window
from hwnas.training.batch_norm import statistics_kept
from hwnas.training.compute import Device


class Graphed:
    """`graphed(x, gates)` as `net(x, gates)`; on the CPU, and where ranks train together, it is just that."""

    def __init__(self, net: nn.Module, space: Space, device: Device) -> None:
        self.net = net
        self.widths = [len(choice.options) for choice in space.choices]
        self.captures = device.torch.type == "cuda" and device.ranks.size == 1  # messages are not captured
        self._captured: dict[torch.Size, Callable[[Tensor, Tensor], Tensor]] = {}

    def __call__(self, x: Tensor | Window, gates: Gates) -> Tensor:
        weights = self._mixed(gates) if self.captures else []
        if isinstance(x, Window) or not (weights and self.net.training and torch.is_grad_enabled()):
            return self.net(x, gates)
        flat = torch.stack(weights)
        if x.shape not in self._captured:
            self._captured[x.shape] = self._capture(x, flat)
        # The captured backward pass gives the weights' gradients in every case, so they must be asked for.
        return self._captured[x.shape](x, flat if flat.requires_grad else flat.requires_grad_())

    def _mixed(self, gates: Gates) -> list[Tensor]:
        """The weights of all options, choice after choice; none unless every option runs, with a weight on the GPU."""
        weights = [gates[c].get(o) for c, width in enumerate(self.widths) if width > 1 for o in range(width)]
        mixed = [weight for weight in weights if weight is not None and weight.is_cuda]
        return mixed if len(mixed) == len(weights) else []

    def _capture(self, x: Tensor, flat: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        sample = (x.detach().clone(), flat.detach().clone().requires_grad_())
        with statistics_kept(self.net):  # capturing runs the network a few times
            graphed = torch.cuda.make_graphed_callables(
                _Mixture(self.net, self.widths), sample, allow_unused_input=True
            )
        return cast("Callable[[Tensor, Tensor], Tensor]", graphed)


class _Mixture(nn.Module):
    """The network as a function of tensors alone. `flat`: the weights of all options, choice after choice."""

    def __init__(self, net: nn.Module, widths: list[int]) -> None:
        super().__init__()
        self.net, self.widths = net, widths

    def forward(self, x: Tensor, flat: Tensor) -> Tensor:
        left = iter(flat.unbind())
        gates: Gates = {
            choice: {option: next(left) for option in range(width)} if width > 1 else {0: None}
            for choice, width in enumerate(self.widths)
        }
        return self.net(x, gates)
