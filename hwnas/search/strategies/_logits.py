"""The architecture parameters of a gradient search: independent categorical choices with their Adam."""

import numpy as np
import torch
from torch import Tensor

from hwnas.core.seeds import derive
from hwnas.search.problem import Problem


class Logits:
    """`alpha`: [choices, most options], −inf where a choice has fewer.

    Adam with β = (`momentum`, 0.999). ProxylessNAS takes no momentum, so that an option that was not sampled does not
    move; DARTS and its relatives, whose every α has a gradient, take 0.5 and some weight decay.
    """

    def __init__(
        self, problem: Problem, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        self.widths = [len(choice.options) for choice in problem.space.choices]
        generator = torch.Generator().manual_seed(derive(problem.seed, "alpha"))
        alpha = 1e-3 * torch.randn(len(self.widths), max(self.widths), generator=generator, dtype=torch.float64)
        self.absent = torch.arange(max(self.widths))[None, :] >= torch.tensor(self.widths)[:, None]
        self.alpha = alpha.masked_fill(self.absent, -torch.inf).requires_grad_()
        self.adam = torch.optim.Adam([self.alpha], lr=learning_rate, betas=(momentum, 0.999))
        self.weight_decay = weight_decay

    def probabilities(self) -> Tensor:
        """[choices, most options]; rows sum to 1."""
        return torch.softmax(self.alpha.detach(), dim=1)

    def split(self, rows: Tensor) -> list[Tensor]:
        """One [options] tensor a choice, without the padding."""
        return [row[:width] for row, width in zip(rows, self.widths, strict=True)]

    def sample(self, generator: torch.Generator, count: int = 1) -> Tensor:
        """[choices, count] options, without replacement, by their probabilities."""
        return torch.multinomial(self.probabilities(), count, generator=generator)

    def step(self, gradient: Tensor) -> None:
        """One Adam step. `gradient`: like alpha; without momentum and decay, entries that are 0 do not move."""
        decayed = gradient + self.weight_decay * self.alpha.detach()
        self.alpha.grad = decayed.masked_fill(self.absent, 0.0)
        self.adam.step()
        self.alpha.grad = None

    def scores(self) -> list[np.ndarray]:
        return [row.numpy() for row in self.split(torch.log_softmax(self.alpha.detach(), dim=1))]

    def entropy(self) -> float:
        """Mean over the choices, in units of a uniform choice: 1 undecided, 0 decided."""
        per_choice = [
            -(p * p.clamp_min(1e-12).log()).sum() / np.log(len(p))
            for p in self.split(self.probabilities())
            if len(p) > 1
        ]
        return float(torch.stack(per_choice).mean()) if per_choice else 0.0

    def state(self) -> dict[str, Tensor]:
        moments = self.adam.state.get(self.alpha, {})
        return {"alpha": self.alpha.detach()} | {f"adam.{key}": value for key, value in moments.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        moments = {k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")}
        if moments:
            self.adam.state[self.alpha] = moments
