"""ENAS (Pham et al. 2018, arXiv:1802.03268): NAS-RL's controller, but all its children share one supernet's weights.

The weights ω and the controller's θ are trained in turns (section 2.2):
    ω: SGD on ∇ω L(a; ω) for one path a ~ π(θ) a step, a whole epoch of the weights split;
    θ: then, ω fixed, a number of Adam steps on
       E_{a~π(θ)} [(R(a; ω) − b) · ∇θ log π(a; θ)] + e · ∇θ H(π),   b ← d·b + (1 − d)·R
       by 10 networks a step, each judged on ONE mini-batch of the search split.
Logits are bounded, c·tanh(z/T), against premature convergence; one layer of 100, weights uniform in ±0.1, e = 1e-4,
Adam at 0.0035 (the paper's cells). Deriving (section 2.4): networks are drawn from the controller and compared by the
shared weights; here on the whole search split, beside exact projections of the controller's marginals on the budget.
Deviations: R = r·exp(−loss), the paper's reward for language, r = 1, instead of a batch's accuracy, which is coarser
(the loss is the recipe's, with its label smoothing). The latency enters as in `proxyless_rl.py`: R − μ·(latency/target
− 1), μ learned. A warm-up without θ, for our searches take tens of epochs and not 150; for the same reason d is 0.9,
not 0.999, and a step of θ comes for every 4 of ω (paper: 30 for 281). c = 2.5 and T = 5 are the paper's for language
(cells: 1.1). No skip-connection target: skips are choices like the others.

Measured once (digits, 16 epochs, budget 60 %, seed 0): E[latency] sank from 0.168 ms to its limit, 0.113, in six
turns; of 24 networks compared at the end the best has 96.9 % on the search split.
"""

from collections.abc import Callable
from math import floor, log

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import derive, stream
from hwnas.search.latency_term import LatencyTerm, LatencyTermSettings
from hwnas.search.problem import Problem
from hwnas.search.strategies import Relaxation
from hwnas.search.strategies._controller import Controller, taken_of
from hwnas.search.strategies._factorised import one_path
from hwnas.spaces import Gates

_DRAWN = 200
"""Networks drawn to know the controller's marginals."""


class EnasSettings(Settings):
    learning_rate: float = Field(default=0.0035, gt=0)
    warmup: float = Field(default=0.3, ge=0, lt=1)
    """Fraction of the epochs in which only weights are trained."""
    every: int = Field(default=4, ge=1)
    """Weight steps to one of the controller's; they are made up at the end of the epoch."""
    networks: int = Field(default=10, ge=2)
    """A controller step."""
    baseline_decay: float = Field(default=0.9, ge=0, lt=1)
    entropy: float = Field(default=1e-4, ge=0)
    hidden: int = Field(default=100, ge=1)
    layers: int = Field(default=1, ge=1)
    bound: float = Field(default=2.5, gt=0)
    """c; the paper: 2.5 for language, 1.1 for cells, 1.5 for whole networks."""
    temperature: float = Field(default=5.0, gt=0)
    reward: float = Field(default=1.0, gt=0)
    """r of R = r·exp(−cross-entropy). For language the paper has r/perplexity, r about 80 (weakly sourced)."""
    derived: int = Field(default=10, ge=0)
    """Networks drawn from the controller at the end."""


class Enas(Relaxation):
    Settings = EnasSettings
    mixes = False

    def __init__(self, problem: Problem, settings: EnasSettings, epochs: int) -> None:
        self.problem, self.settings, self.warmup_epochs = problem, settings, settings.warmup * epochs
        self.widths = [len(choice.options) for choice in problem.space.choices]
        self.controller = Bounded(self.widths, settings, self._generator("controller"))
        self.adam = torch.optim.Adam(self.controller.parameters(), settings.learning_rate)
        # Rewards lie in 0..1, as those of `proxyless_rl.py`.
        self.term = LatencyTerm(LatencyTermSettings(rate=0.01, damping=0.5), problem.limit_ms)
        self.baseline: float | None = None
        self.steps, self.progress = 0, float("nan")

    def gates(self, generator: torch.Generator) -> Gates:
        return one_path(self.controller.sample(generator)[0])

    def update(self, loss_of: Callable[[Gates], Tensor], progress: float, generator: torch.Generator) -> None:
        step, self.progress = progress - self.progress, progress
        self.steps += 1
        epoch_ends = progress + step > floor(progress) + 1 - 1e-6
        if epoch_ends:
            if progress >= self.warmup_epochs:
                for _ in range(max(1, self.steps // self.settings.every)):
                    self._learn(loss_of, generator)
            self.steps = 0

    def _learn(self, loss_of: Callable[[Gates], Tensor], generator: torch.Generator) -> None:
        """One controller step."""
        archs = self.controller.sample(generator, self.settings.networks)
        latencies_ms = [self.problem.binding_ms(arch) for arch in archs]
        with torch.no_grad():
            likelihoods = [self.settings.reward * float(torch.exp(-loss_of(one_path(arch)))) for arch in archs]
        excesses = [ms / self.problem.limit_ms - 1 for ms in latencies_ms]
        rewards = [p - self.term.multiplier * e for p, e in zip(likelihoods, excesses, strict=True)]
        mean = float(np.mean(rewards))
        baseline = mean if self.baseline is None else self.baseline
        decay = self.settings.baseline_decay
        self.baseline = decay * baseline + (1 - decay) * mean

        distributions = self.controller.log_softmaxes(archs)
        entropy = torch.stack([-(row.exp() * row).sum(-1) for row in distributions]).sum(0)
        gains = (torch.tensor(rewards) - baseline) * taken_of(distributions, archs)
        self.adam.zero_grad()
        (-gains - self.settings.entropy * entropy).mean().backward()
        self.adam.step()
        self.term.observe(float(np.mean(latencies_ms)))

    def scores(self) -> list[np.ndarray]:
        """The controller's marginals: each choice's distribution, averaged over what it draws before."""
        rows = self._conditionals(self._drawn())
        marginals = [row.double().exp().mean(0).numpy() for row in rows]
        return [np.log(p / p.sum()) for p in marginals]

    def drawn(self) -> list[Arch]:
        rng, generator = stream(self.problem.seed, "enas repair"), self._generator("derived")
        archs = self.controller.sample(generator, self.settings.derived) if self.settings.derived else []
        kept = [self.problem.repair(arch, rng) for arch in archs if self.problem.space.valid(arch)]
        return list(dict.fromkeys(arch for arch in kept if arch is not None))

    def facts(self) -> dict[str, float]:
        archs = self._drawn()
        rows = [row.double() for row in self._conditionals(archs) if row.shape[1] > 1]
        entropies = [float(-(row.exp() * row).sum(-1).mean()) / log(row.shape[1]) for row in rows]
        return {
            "expected": self._expected_ms(np.array(archs)),
            "limit": self.problem.limit_ms,
            "entropy": float(np.mean(entropies)) if entropies else 0.0,
            "multiplier": self.term.multiplier,
        }

    def state(self) -> dict[str, Tensor]:
        moments = {
            f"adam.{number}.{key}": value
            for number, parameter in enumerate(self.controller.parameters())
            for key, value in self.adam.state.get(parameter, {}).items()
        }
        weights = {f"controller.{name}": value for name, value in self.controller.state_dict().items()}
        baseline = float("nan") if self.baseline is None else self.baseline
        numbers = [self.steps, self.progress, self.term.memory, self.term.multiplier, baseline]
        return weights | moments | {"counters": torch.tensor(numbers, dtype=torch.float64)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        weights = {k.removeprefix("controller."): v for k, v in state.items() if k.startswith("controller.")}
        self.controller.load_state_dict(weights)
        for number, parameter in enumerate(self.controller.parameters()):
            prefix = f"adam.{number}."
            if moments := {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}:
                self.adam.state[parameter] = moments
        steps, self.progress, self.term.memory, self.term.multiplier, baseline = state["counters"].tolist()
        self.steps, self.baseline = int(steps), None if np.isnan(baseline) else baseline

    def _expected_ms(self, archs: np.ndarray) -> float:
        """By the sums, as that of `Problem.expected_ms`: on the target that is nearest to its budget."""
        limit_ms = self.problem.limit_ms
        return max(float(t.additive.sum_many(archs).mean()) * limit_ms / t.limit_ms for t in self.problem.targets)

    def _drawn(self) -> list[Arch]:
        """The same random numbers each time, so that only the controller changes what they give."""
        return self.controller.sample(self._generator("marginals"), _DRAWN)

    @torch.no_grad()
    def _conditionals(self, archs: list[Arch]) -> list[Tensor]:
        return self.controller.log_softmaxes(archs)

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(self.problem.seed, "enas", purpose))


class Bounded(Controller):
    """With logits c·tanh(z/T)."""

    def __init__(self, widths: list[int], settings: EnasSettings, generator: torch.Generator) -> None:
        super().__init__(widths, settings.hidden, settings.layers, generator, bound=0.1)
        self.settings = settings

    def logits(self, step: int, x: Tensor) -> Tensor:
        return self.settings.bound * torch.tanh(super().logits(step, x) / self.settings.temperature)
