"""The nodes of NAS-RL's tree cell (arXiv:1611.01578, section 3.4): two vectors combined, then a function."""

from collections.abc import Callable
from operator import add, mul

from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.operators import operator
from hwnas.operators.recurrent import function, kept, uniform

COMBINED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"add": add, "multiply": mul}


class TreeLeaf(nn.Module):
    """[word's vector, output] → [hidden]: f(W·word ∘ U·output), ∘ one of `COMBINED`."""

    def __init__(self, size: int, hidden: int, combine: str, act: str) -> None:
        super().__init__()
        self.size, self.combine, self.act = size, combine, act
        self.word = nn.Linear(size, hidden, bias=False)
        self.output = nn.Linear(hidden, hidden, bias=False)
        uniform(self, hidden)

    def forward(self, x: Tensor) -> Tensor:
        two = self.both(x[:, : self.size], x[:, self.size :], None)
        return function(self.act)(combined(self.combine, *two))

    def both(self, word: Tensor, output: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is to be combined."""
        return self.word(word), self.output(kept(output, keep))


class TreeNode(nn.Module):
    """Two vectors side by side, [batch, 2 · hidden] → [batch, hidden]. It has no weights."""

    def __init__(self, hidden: int, combine: str, act: str) -> None:
        super().__init__()
        self.hidden, self.combine, self.act = hidden, combine, act

    def forward(self, x: Tensor) -> Tensor:
        return function(self.act)(combined(self.combine, x[:, : self.hidden], x[:, self.hidden :]))


def combined(combine: str, a: Tensor, b: Tensor) -> Tensor:
    if combine not in COMBINED:
        raise BadInput(f"a tree's node does not combine by '{combine}'", f"known: {', '.join(COMBINED)}")
    return COMBINED[combine](a, b)


@operator("tree_leaf")
def tree_leaf(input_shape: tuple[int, ...], *, hidden: int, combine: str, act: str) -> nn.Module:
    """[size + hidden] → [hidden]."""
    return TreeLeaf(input_shape[0] - hidden, hidden, combine, act)


@operator("tree_node")
def tree_node(input_shape: tuple[int, ...], *, combine: str, act: str) -> nn.Module:
    """[2 · hidden] → [hidden]."""
    return TreeNode(input_shape[0] // 2, combine, act)
