"""One step of a recurrent network as operators on [batch, numbers]: a word in, a cell's nodes, the next word's logits.

The highway node of ENAS (arXiv:1802.03268, section 2.1) and DARTS (arXiv:1806.09055, section 3.2): of an input s,
    c = σ(s·W_c),   h = f(s·W_h),   s' = c ⊙ h + (1 − c) ⊙ s
LSTM (Hochreiter & Schmidhuber 1997) and GRU (Cho et al. 2014, arXiv:1406.1078) in the form of torch.nn.

Weights are uniform in ±1/√hidden, as torch's recurrent layers have them. `keep`: [batch, hidden] of a variational
dropout (arXiv:1512.05287), the same for all steps of a window; None where nothing is dropped.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.operators import operator

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda h: h,
}


def uniform(module: nn.Module, hidden: int) -> None:
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)


def kept(x: Tensor, keep: Tensor | None) -> Tensor:
    return x if keep is None else x * keep


class Embedding(nn.Module):
    """[batch, 1] of word numbers, as floats → their vectors. A number that is no word's is the nearest word's."""

    def __init__(self, words: int, out: int) -> None:
        super().__init__()
        self.last = float(words - 1)
        self.table = nn.Embedding(words, out)
        self.flatten = nn.Flatten()
        uniform(self, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.flatten(self.table(torch.clamp(x, 0.0, self.last).long()))


class Words(nn.Module):
    """[batch, hidden] → a logit a word. `tied`: the weight is the embedding's (arXiv:1608.05859); `tie` puts it in."""

    def __init__(self, hidden: int, words: int, tied: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, words)
        uniform(self, hidden)
        nn.init.zeros_(self.linear.bias)
        if tied:  # until then no parameter: it is counted where the embedding is
            weight = self.linear.weight.detach()
            del self.linear.weight
            self.linear.register_buffer("weight", weight)

    def tie(self, embedding: Embedding) -> None:
        del self.linear.weight
        self.linear.weight = embedding.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class InputNode(nn.Module):
    """[word's vector, state] → the first node: a highway from the old state, its function tanh (DARTS)."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.size, self.hidden = size, hidden
        self.linear = nn.Linear(size + hidden, 2 * hidden, bias=False)
        uniform(self, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x[:, : self.size], x[:, self.size :])

    def step(self, word: Tensor, state: Tensor, keep: Tensor | None = None) -> Tensor:
        both = self.linear(torch.cat((word, kept(state, keep)), 1))
        return highway(both, state, self.hidden, torch.tanh)


class HighwayNode(nn.Module):
    """[batch, hidden] → [batch, hidden]."""

    def __init__(self, hidden: int, act: str) -> None:
        super().__init__()
        self.hidden, self.function = hidden, function(act)
        self.linear = nn.Linear(hidden, 2 * hidden, bias=False)
        uniform(self, hidden)

    def forward(self, state: Tensor) -> Tensor:
        return self.step(state, None)

    def step(self, state: Tensor, keep: Tensor | None) -> Tensor:
        return highway(self.linear(kept(state, keep)), state, self.hidden, self.function)


def highway(both: Tensor, state: Tensor, hidden: int, f: Callable[[Tensor], Tensor]) -> Tensor:
    """`both`: the gate's and the function's inputs side by side, [..., 2·hidden]."""
    c, h = both[..., :hidden], both[..., hidden:]
    return state + torch.sigmoid(c) * (f(h) - state)


def function(act: str) -> Callable[[Tensor], Tensor]:
    if act not in FUNCTIONS:
        raise BadInput(f"no function '{act}' for a recurrent node", f"known: {', '.join(FUNCTIONS)}")
    return FUNCTIONS[act]


class Mean(nn.Module):
    """Nodes side by side, [batch, nodes · hidden] → [batch, hidden]."""

    def __init__(self, nodes: int, hidden: int) -> None:
        super().__init__()
        self.nodes, self.hidden = nodes, hidden

    def forward(self, x: Tensor) -> Tensor:
        return mean([x[:, i * self.hidden : (i + 1) * self.hidden] for i in range(self.nodes)])


def mean(nodes: Sequence[Tensor]) -> Tensor:
    return reduce(add, nodes) * (1 / len(nodes))


class Lstm(nn.Module):
    """[word's vector, output, memory] → [output, memory]."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.size, self.hidden = size, hidden
        self.linear = nn.Linear(size + hidden, 4 * hidden)
        uniform(self, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x[:, : self.size], x[:, self.size :])

    def step(self, word: Tensor, state: Tensor, keep: Tensor | None = None) -> Tensor:
        n = self.hidden
        output, memory = state[:, :n], state[:, n:]
        gates = self.linear(torch.cat((word, kept(output, keep)), 1))
        i, f, g, o = (gates[:, part * n : (part + 1) * n] for part in range(4))
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat((torch.sigmoid(o) * torch.tanh(memory), memory), 1)


class Gru(nn.Module):
    """[word's vector, output] → output."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.size, self.hidden = size, hidden
        self.word = nn.Linear(size, 3 * hidden)
        self.state = nn.Linear(hidden, 3 * hidden)
        uniform(self, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x[:, : self.size], x[:, self.size :])

    def step(self, word: Tensor, state: Tensor, keep: Tensor | None = None) -> Tensor:
        n, new, old = self.hidden, self.word(word), self.state(kept(state, keep))
        reset, update = (torch.sigmoid(new[:, part] + old[:, part]) for part in (slice(n), slice(n, 2 * n)))
        candidate = torch.tanh(new[:, 2 * n :] + reset * old[:, 2 * n :])
        return candidate + update * (state - candidate)


@operator("embedding")
def embedding(input_shape: tuple[int, ...], *, words: int, out: int) -> nn.Module:
    """[1], the word's number → [out]."""
    return Embedding(words, out)


@operator("words")
def words(input_shape: tuple[int, ...], *, words: int, tied: bool) -> nn.Module:
    """[hidden] → [words]."""
    return Words(input_shape[0], words, tied)


@operator("rnn_input")
def rnn_input(input_shape: tuple[int, ...], *, hidden: int) -> nn.Module:
    """[size + hidden] → [hidden]."""
    return InputNode(input_shape[0] - hidden, hidden)


@operator("rnn_node")
def rnn_node(input_shape: tuple[int, ...], *, act: str) -> nn.Module:
    """[hidden] → [hidden]."""
    return HighwayNode(input_shape[0], act)


@operator("rnn_mean")
def rnn_mean(input_shape: tuple[int, ...], *, nodes: int) -> nn.Module:
    """[nodes · hidden] → [hidden]."""
    return Mean(nodes, input_shape[0] // nodes)


@operator("lstm")
def lstm(input_shape: tuple[int, ...], *, hidden: int) -> nn.Module:
    """[size + 2·hidden] → [2·hidden]."""
    return Lstm(input_shape[0] - 2 * hidden, hidden)


@operator("gru")
def gru(input_shape: tuple[int, ...], *, hidden: int) -> nn.Module:
    """[size + hidden] → [hidden]."""
    return Gru(input_shape[0] - hidden, hidden)
