"""What Gumbel-softmax searches share: z = softmax((log p + G)/τ), G Gumbel noise, and a temperature τ that falls.

At a high τ all options weigh alike, at a low one z is nearly a one-hot sample of p; at any τ its gradient in α is exact
(Jang et al., arXiv:1611.01144; Maddison et al., arXiv:1611.00712).
"""

import torch
from pydantic import Field
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.search.latency_term import LatencyTerm, LatencyTermSettings
from hwnas.search.problem import Problem
from hwnas.search.strategies._factorised import Factorised
from hwnas.training.supernet import LossOf


class AnnealedSettings(Settings):
    learning_rate: float = Field(default=0.03, gt=0)
    """Of α. The papers' rates are for searches of many more steps than ours."""
    weight_decay: float = Field(default=1e-3, ge=0)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the epochs in which only weights are trained."""
    every: int = Field(default=1, ge=1)
    """Weight steps between two architecture steps."""
    tau_start: float = Field(gt=0)
    tau_end: float = Field(gt=0)
    latency: LatencyTermSettings = LatencyTermSettings()


class Annealed(Factorised):
    def __init__(self, problem: Problem, settings: AnnealedSettings, epochs: int) -> None:
        s, term = settings, LatencyTerm(settings.latency, problem.limit_ms)
        super().__init__(problem, s.learning_rate, s.warmup * epochs, s.every, term, 0.5, s.weight_decay)
        self.settings, self.epochs = settings, epochs
        self.temperature = settings.tau_start

    def annealed(self, done: float) -> float:
        """τ when the share `done` of the search is over: by equal factors."""
        start, end = self.settings.tau_start, self.settings.tau_end
        return start * (end / start) ** done

    def sample(self, generator: torch.Generator) -> Tensor:
        """z: [choices, most options], a function of α; rows sum to 1."""
        alpha = self.logits.alpha
        gumbel = -torch.empty_like(alpha).exponential_(generator=generator).log()
        return torch.softmax((torch.log_softmax(alpha, dim=1) + gumbel) / self.temperature, dim=1)

    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        self.temperature = self.annealed(min(1.0, progress / self.epochs))
        super().update(loss_of, progress, generator)

    def facts(self) -> dict[str, float]:
        return super().facts() | {"temperature": self.temperature}

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"temperature": torch.tensor(self.temperature, dtype=torch.float64)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        super().load_state(state)
        self.temperature = float(state["temperature"])
