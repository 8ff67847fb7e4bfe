"""The LSTM controller of NAS-RL and ENAS: a distribution over architectures that emits one choice after another.

    P(a) = Π_t softmax(W_t h_t)[a_t],   h_t = LSTM(embedding of a_{t−1}, h_{t−1})
Every choice has an embedding and a head of its own, so that their numbers of options may differ.
"""

import torch
from torch import Tensor, nn

from hwnas.core.arch import Arch

State = list[tuple[Tensor, Tensor] | None]


class Controller(nn.Module):
    """`widths`: options a choice. Weights uniform in ±`bound`."""

    def __init__(
        self, widths: list[int], hidden: int, layers: int, generator: torch.Generator, bound: float = 0.08
    ) -> None:
        super().__init__()
        sizes = [1, *widths[:-1]]  # before the first choice there is one start token
        self.embeddings = nn.ModuleList(nn.Embedding(size, hidden) for size in sizes)
        self.cells = nn.ModuleList(nn.LSTMCell(hidden, hidden) for _ in range(layers))
        self.heads = nn.ModuleList(nn.Linear(hidden, width) for width in widths)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    @torch.no_grad()
    def sample(self, generator: torch.Generator, count: int = 1) -> list[Arch]:
        columns = [torch.zeros(count, dtype=torch.long)]
        state: State = [None] * len(self.cells)
        for step in range(len(self.heads)):
            logits, state = self._step(step, columns[-1], state)
            columns.append(torch.multinomial(torch.softmax(logits, -1), 1, generator=generator)[:, 0])
        return [tuple(arch) for arch in torch.stack(columns[1:], dim=1).tolist()]

    def log_softmaxes(self, archs: list[Arch]) -> list[Tensor]:
        """Per choice [archs, options]: the log-probability of every option, given what each arch takes before."""
        taken = torch.tensor(archs)
        previous = torch.zeros(len(archs), dtype=torch.long)
        found: list[Tensor] = []
        state: State = [None] * len(self.cells)
        for step in range(len(self.heads)):
            logits, state = self._step(step, previous, state)
            found.append(torch.log_softmax(logits, -1))
            previous = taken[:, step]
        return found

    def log_probability(self, archs: list[Arch]) -> Tensor:
        """log P [archs], differentiable in the controller's weights."""
        return taken_of(self.log_softmaxes(archs), archs)

    def logits(self, step: int, x: Tensor) -> Tensor:
        """Of choice `step`, from the upper layer's output."""
        return self.heads[step](x)

    def _step(self, step: int, previous: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits [archs, options] of choice `step`, given the options taken before it."""
        x = self.embeddings[step](previous)
        after: State = []
        for cell, before in zip(self.cells, state, strict=True):
            x, memory = cell(x, before)
            after.append((x, memory))
        return self.logits(step, x), after


def taken_of(log_softmaxes: list[Tensor], archs: list[Arch]) -> Tensor:
    """[archs]: the sum over the choices of the log-probabilities of the options taken."""
    total = torch.zeros(len(archs))
    for rows, options in zip(log_softmaxes, torch.tensor(archs).T, strict=True):
        total = total + rows.gather(1, options[:, None])[:, 0]
    return total
