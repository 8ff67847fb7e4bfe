"""Networks that read text: an embedding, a recurrent cell, a projection onto words; and the windows they read.

A device runs them word by word, the state in and out (`input_shape`: the word's number, as a float, then the state; the
output: a logit a word, then the new state). One float tensor each way, so that every runtime, check and measurement of
an image network serves them too. Training reads a `Window` of many words at once.
"""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.operators.recurrent import Embedding, Words
from hwnas.spaces import Space, Window


class RecurrentSettings(Settings):
    """`*_dropout`: variational (arXiv:1512.05287), one mask a window: of the words' vectors, of the state where a
    matrix reads it, of the outputs."""

    hidden: int = Field(default=128, ge=2)
    tied: bool = True
    """The projection's weight is the embedding's (arXiv:1608.05859)."""
    input_dropout: float = Field(default=0.2, ge=0, lt=1)
    state_dropout: float = Field(default=0.1, ge=0, lt=1)
    output_dropout: float = Field(default=0.3, ge=0, lt=1)


Step = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(word's vector [batch, hidden], state [batch, state], mask [batch, hidden] or None) → the new state. Its first
`hidden` numbers are what the cell puts out."""


class Reader(nn.Module):
    """`ends`: operators of the embedding and of the projection. `cell`: a module whose `step` is a `Step`. `state`:
    numbers that it hands from word to word."""

    def __init__(self, ends: tuple[OpSpec, OpSpec], cell: nn.Module, state: int, settings: RecurrentSettings) -> None:
        super().__init__()
        self.state, self.settings, self.hidden = state, settings, ends[1].input_shape[0]
        embedding, words = map(build, ends)
        assert isinstance(embedding, Embedding) and isinstance(words, Words)
        self.embedding, self.cell, self.words = embedding, cell, words
        if settings.tied:
            words.tie(embedding)

    def forward(self, x: Tensor | Window) -> Tensor:
        """[batch, 1 + state] → [batch, words + state]; a window of [rows, span] → [rows · span, words]."""
        return self.read(x, self.cell.step)  # type: ignore[arg-type]

    def read(self, x: Tensor | Window, step: Step) -> Tensor:
        if isinstance(x, Window):
            return self._window(x, step)
        state = step(self.embedding(x[:, :1]), x[:, 1:], None)
        return torch.cat((self.words(self._output(state)), state), 1)

    def _window(self, window: Window, step: Step) -> Tensor:
        s, (rows, span) = self.settings, window.words.shape
        noise = torch.Generator().manual_seed(window.noise)

        def mask(share: float) -> Tensor | None:
            """[rows, hidden], drawn on the CPU, so that every device drops the same."""
            if not self.training or share == 0:
                return None
            kept = torch.rand(rows, self.hidden, generator=noise) >= share
            return (kept / (1 - share)).to(window.words.device)

        inputs, keep, outputs = (mask(share) for share in (s.input_dropout, s.state_dropout, s.output_dropout))
        vectors = F.embedding(window.words, self.embedding.table.weight)
        if inputs is not None:
            vectors = vectors * inputs[:, None]
        state, read = window.start(vectors.new_zeros(rows, self.state)), []
        for place in range(span):
            state = step(vectors[:, place], state, keep)
            read.append(self._output(state))
        window.end(state)
        found = torch.stack(read, 1)
        return self.words((found if outputs is None else found * outputs[:, None]).flatten(0, 1))

    def _output(self, state: Tensor) -> Tensor:
        return state[:, : self.hidden]


class RecurrentSpace(Space):
    """What all spaces of recurrent networks share."""

    is_chain = False
    reads_text = True

    def __init__(self, settings: RecurrentSettings, channels: int, classes: int) -> None:
        """`classes`: words. Raises BadInput where there are channels: text has none."""
        if channels:
            raise BadInput(f"{type(self).__name__} reads text, and this data set holds images", "--data ptb")
        self.settings, self.classes = settings, classes
        self.input_shape = (1 + settings.hidden,)

    def ends(self, hidden: int) -> tuple[OpSpec, OpSpec]:
        embedding = OpSpec.of("embedding", (1,), words=self.classes, out=hidden)
        return embedding, OpSpec.of("words", (hidden,), words=self.classes, tied=self.settings.tied)

    def seen(self, network: nn.Module, inputs: Tensor | Window) -> Tensor:
        """What the network meets, step by step, while it reads the one row of a window: [span, 1 + state]."""
        assert isinstance(inputs, Window) and len(inputs.words) == 1 and isinstance(network, Reader)
        met, step = [], torch.zeros(1, 1 + network.state)
        with torch.no_grad():
            for word in inputs.words[0]:
                step[0, 0] = word
                met.append(step.clone())
                step[:, 1:] = network(step)[:, self.classes :]
        return torch.cat(met)
