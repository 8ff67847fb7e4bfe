"""NAO (Luo et al. 2018, arXiv:1808.07233): gradient ascent in the embedding of an encoder–predictor–decoder.

    e = encoder(a) = normalised mean of the LSTM's outputs;   f(e) ≈ accuracy;   decoder(e) → a
    loss = 0.8 · (f(e) − accuracy)² − 0.2 · log P_decoder(a | e)
    e' = e + λ · ∂f/∂e   of the best networks, λ = 1, 2, … until enough unseen ones decode
Random networks first; then rounds of training on all that was judged and of new networks, as many as were random.
Paper: LSTM of 96, predictor 3×200, 1000 epochs of Adam 1e-3 on 600 architectures, 300 new ones from the best 100.
Deviations: epochs for tens of queries (the settings), no dropout, accuracies standardised in place of min–max; the
decoder reads e at every step in place of attention over the sequence that e is the mean of, and e' is normalised again;
what decodes over the budget is repaired; where λ up to `steps` decodes too few, random ones fill up.

Measured (docs/results/nasbench201.md): NAS-Bench-201 in 12,000 simulated seconds 94.03 ± 0.35 % over 20 seeds.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import derive, stream
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import Trial, ranked

_TRIES = 20


class NaoSettings(Settings):
    trials: int = Field(default=30, ge=1)
    batch: int = Field(default=10, ge=2)
    """Random networks at first, then new ones a round."""
    parents: int = Field(default=10, ge=1)
    epochs: int = Field(default=100, ge=1)
    """Full-batch steps a round; the weights are kept from round to round."""
    steps: int = Field(default=10, ge=1)
    hidden: int = Field(default=96, ge=2)
    predictor: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    trade_off: float = Field(default=0.8, ge=0, le=1)


class Nao(Proposer):
    Settings = NaoSettings
    estimator = "early-stop"

    def __init__(self, problem: Problem, settings: NaoSettings) -> None:
        self.problem, self.settings = problem, settings
        self.rng = stream(problem.seed, "nao")
        self.model = EncoderPredictorDecoder([len(choice.options) for choice in problem.space.choices], settings)
        _initialise(self.model, torch.Generator().manual_seed(derive(problem.seed, "nao")))
        self.adam = torch.optim.Adam(self.model.parameters(), settings.learning_rate)
        self.told: list[Trial] = []
        self.queue: list[Arch] = []

    @property
    def trials(self) -> int:
        return self.settings.trials

    def outstanding(self, workers: int) -> int:
        return self.trials if self.queue else 0  # of one round

    def ask(self) -> Arch:
        if not self.queue:
            found = self._improved() if self.told else {}
            for _ in range(_TRIES * self.settings.batch):
                if len(found) == self.settings.batch:
                    break
                found |= self._new([self.problem.sample(self.rng)], found)
            # Nothing is left where the space has fewer networks than the search has trials.
            self.queue = list(found) or [self.told[-1].arch] * self.settings.batch
        return self.queue.pop(0)

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)

    def _improved(self) -> dict[Arch, None]:
        """Up to `batch` unseen networks that decode from the best ones' improved embeddings."""
        self._fit()
        parents = torch.tensor([trial.arch for trial in ranked(self.told)[: self.settings.parents]])
        embedding = self.model.encode(parents).detach().requires_grad_()
        (uphill,) = torch.autograd.grad(self.model.predict(embedding).sum(), embedding)
        found: dict[Arch, None] = {}
        for step in range(1, self.settings.steps + 1):
            decoded = self.model.decode(embedding.detach() + step * uphill)
            found |= self._new([self.problem.repair(arch, self.rng) for arch in decoded], found)
            if len(found) >= self.settings.batch:
                break
        return dict.fromkeys(list(found)[: self.settings.batch])

    def _new(self, archs: list[Arch | None], found: dict[Arch, None]) -> dict[Arch, None]:
        known = {trial.arch for trial in self.told} | found.keys()
        return dict.fromkeys(arch for arch in archs if arch is not None and arch not in known)

    def _fit(self) -> None:
        archs = torch.tensor([trial.arch for trial in self.told])
        accuracy = torch.tensor([trial.accuracy for trial in self.told])
        target = (accuracy - accuracy.mean()) / accuracy.std(correction=0).clamp_min(1e-6)
        for _ in range(self.settings.epochs):
            embedding = self.model.encode(archs)
            error = F.mse_loss(self.model.predict(embedding), target)
            surprise = -self.model.log_probability(embedding, archs).mean()
            share = self.settings.trade_off
            self.adam.zero_grad()
            (share * error + (1 - share) * surprise).backward()
            self.adam.step()


class EncoderPredictorDecoder(nn.Module):
    """Architectures as [n, choices] integers; every choice has tokens of its own, and one token starts a decoding."""

    def __init__(self, widths: list[int], settings: NaoSettings) -> None:
        super().__init__()
        size, hidden = settings.hidden, settings.predictor
        self.widths = widths
        self.offsets = torch.tensor([0, *widths[:-1]]).cumsum(0)
        self.tokens = nn.Embedding(sum(widths) + 1, size)
        self.encoder = nn.LSTM(size, size, batch_first=True)
        self.predictor = nn.Sequential(
            *(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)),
        )
        self.decoder = nn.LSTMCell(size, size)
        self.heads = nn.ModuleList(nn.Linear(size, width) for width in widths)

    def encode(self, archs: Tensor) -> Tensor:
        """[n, choices] → [n, hidden], of length 1."""
        outputs, _ = self.encoder(self.tokens(archs + self.offsets))
        return F.normalize(outputs.mean(dim=1), dim=1)

    def predict(self, embedding: Tensor) -> Tensor:
        """[n, hidden] → [n], standardised accuracy."""
        return self.predictor(embedding)[:, 0]

    def log_probability(self, embedding: Tensor, archs: Tensor) -> Tensor:
        """[n] of log P(arch | embedding)."""
        return self._walk(embedding, archs)[1]

    @torch.no_grad()
    def decode(self, embedding: Tensor) -> list[Arch]:
        """The likeliest option of each choice, given those before it."""
        return [tuple(arch) for arch in self._walk(F.normalize(embedding, dim=1), None)[0].tolist()]

    def _walk(self, embedding: Tensor, archs: Tensor | None) -> tuple[Tensor, Tensor]:
        """Along `archs`, or along the likeliest options: options taken [n, choices], their log-probability [n]."""
        token = torch.full((len(embedding),), sum(self.widths))
        state, total, taken = (embedding, torch.zeros_like(embedding)), torch.zeros(len(embedding)), []
        for choice, head in enumerate(self.heads):
            state = self.decoder(self.tokens(token) + embedding, state)
            scores = torch.log_softmax(head(state[0]), dim=1)
            option = scores.argmax(dim=1) if archs is None else archs[:, choice]
            total = total + scores.gather(1, option[:, None])[:, 0]
            token = option + self.offsets[choice]
            taken.append(option)
        return torch.stack(taken, dim=1), total


def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    for parameter in model.parameters():
        bound = parameter.shape[-1] ** -0.5
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
