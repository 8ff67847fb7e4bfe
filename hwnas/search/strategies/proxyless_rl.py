"""ProxylessNAS, REINFORCE variant (arXiv:1812.00332, section 3.3.2 and appendix).

Weight step: one path sampled from p = softmax(α). Architecture step, on the search split: sample M networks, with
reward R and a moving baseline b,
    ∇α J ≈ 1/M · Σ_m (R(N_m) − b) · ∇α log p(N_m).
Reward: accuracy · (target/latency)^0.1 in the paper; accuracy is replaced by exp(−loss), which one batch estimates with
less noise: but for the recipe's label smoothing the geometric mean of the right class's probability. By default the
latency enters as a learned multiplier instead: R = exp(−loss) − μ·(latency/target − 1).
"""

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.search.latency_term import LatencyTerm, LatencyTermSettings
from hwnas.search.problem import Problem
from hwnas.search.strategies._factorised import Factorised, one_path
from hwnas.training.supernet import LossOf


class ProxylessRlSettings(Settings):
    learning_rate: float = Field(default=0.03, gt=0)
    warmup: float = Field(default=0.3, ge=0, lt=1)
    every: int = Field(default=4, ge=1)
    """Weight steps between two architecture steps, each of which runs `networks` forward passes."""
    networks: int = Field(default=10, ge=2)
    reward: Literal["multiplier", "paper"] = "multiplier"
    exponent: float = 0.1
    """Of target/latency in the paper's reward."""
    baseline_decay: float = Field(default=0.9, ge=0, lt=1)


class ProxylessRl(Factorised):
    Settings = ProxylessRlSettings
    mixes = False

    def __init__(self, problem: Problem, settings: ProxylessRlSettings, epochs: int) -> None:
        # Rewards lie in 0..1 where losses lie in 0..log(classes): a gentler multiplier.
        term = LatencyTerm(LatencyTermSettings(rate=0.01, damping=0.5), problem.limit_ms)
        super().__init__(problem, settings.learning_rate, settings.warmup * epochs, settings.every, term)
        self.settings = settings
        self.baseline: float | None = None

    def learn(self, loss_of: LossOf, generator: torch.Generator) -> None:
        probabilities = self.logits.probabilities()
        archs, rewards = [], []
        for _ in range(self.settings.networks):
            arch = self.logits.sample(generator)[:, 0]
            with torch.no_grad():
                accuracy = float(torch.exp(-loss_of(one_path(arch.tolist()))))
            archs.append(arch)
            rewards.append(self._reward(accuracy, self.problem.binding_ms(tuple(arch.tolist()))))
        mean = float(np.mean(rewards))
        baseline = mean if self.baseline is None else self.baseline
        decay = self.settings.baseline_decay
        self.baseline = decay * baseline + (1 - decay) * mean

        # ∇α log p(N) = onehot(N) − p; the optimizer minimises, hence the sign.
        gradient = torch.zeros_like(probabilities)
        for arch, reward in zip(archs, rewards, strict=True):
            onehot = torch.zeros_like(probabilities).scatter(1, arch[:, None], 1.0)
            gradient -= (reward - baseline) / len(archs) * (onehot - probabilities)
        self.logits.step(gradient)

    def _reward(self, accuracy: float, latency_ms: float) -> float:
        if self.settings.reward == "paper":
            return accuracy * (self.problem.limit_ms / latency_ms) ** self.settings.exponent
        return accuracy - self.term.multiplier * (latency_ms / self.problem.limit_ms - 1)

    def state(self) -> dict[str, Tensor]:
        baseline = float("nan") if self.baseline is None else self.baseline
        return super().state() | {"baseline": torch.tensor(baseline, dtype=torch.float64)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        super().load_state(state)
        baseline = float(state["baseline"])
        self.baseline = None if np.isnan(baseline) else baseline
