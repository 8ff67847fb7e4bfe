"""A NAS-Bench-201 cell as a tuple: its text, its place in the official order, what it computes, its paths.

Four nodes; six edges, each with one of five operators, in the official order of both (arXiv:2001.00326, section 2.1).
"""

from functools import cache
from itertools import product
from random import Random

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1, CONV_3, POOL = range(5)
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""(node, the node it reads); a node is the sum of its edges, node 0 the cell's input and node 3 its output."""
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))
"""From input to output, as edges."""


@cache
def official_order() -> tuple[Arch, ...]:
    """All 15,625 cells by their index in the published tables: all tuples, shuffled by Python's generator seeded 88."""
    archs = list(product(range(len(OPERATORS)), repeat=len(EDGES)))
    Random(88).shuffle(archs)
    return tuple(archs)


@cache
def _places() -> dict[Arch, int]:
    return {arch: index for index, arch in enumerate(official_order())}


def index_of(arch: Arch) -> int:
    """In the published tables. Raises BadInput for what is no cell."""
    if arch not in _places():
        raise BadInput(f"{list(arch)} is not a NAS-Bench-201 cell: six numbers from 0 to 4")
    return _places()[arch]


def text(arch: Arch) -> str:
    """`|nor_conv_3x3~0|+|none~0|skip_connect~1|+|…|`, as the official API writes it."""
    nodes = [[] for _ in range(3)]
    for (node, source), option in zip(EDGES, arch, strict=True):
        nodes[node - 1].append(f"{OPERATORS[option]}~{source}")
    return "+".join(f"|{'|'.join(edges)}|" for edges in nodes)


def parse(cell: str) -> Arch:
    """The inverse of `text`. Raises BadInput."""
    options = [edge.partition("~")[0] for edge in cell.replace("+", "").split("|") if edge]
    arch = tuple(OPERATORS.index(option) for option in options if option in OPERATORS)
    if len(arch) != len(EDGES) or text(arch) != cell:
        raise BadInput(f"'{cell}' is not a NAS-Bench-201 cell")
    return arch


@cache
def function(arch: Arch) -> str:
    """Equal only for cells that compute the same, whatever the order of their nodes and sums; "" is zero.

    The sum that reaches the output, without skips and dead edges; convolutions are numbered, so that one used twice is
    not taken for two. A convolution of zero is not zero, but the bias of its batch norm.
    """
    nodes: list[list[Term]] = [[("x", -1, [])], [], [], []]
    for edge, ((node, source), option) in enumerate(zip(EDGES, arch, strict=True)):
        if option == SKIP:
            nodes[node] += nodes[source]
        elif option in (CONV_1, CONV_3) or (option == POOL and nodes[source]):
            nodes[node].append((OPERATORS[option], edge, nodes[source]))
    return _numbered(nodes[3], {})


Term = tuple[str, int, list["Term"]]
"""Operator, its edge, the sum it reads."""


def _numbered(terms: list[Term], numbers: dict[int, int]) -> str:
    texts = []
    for name, edge, inner in sorted(terms, key=_unnumbered):
        number = numbers.setdefault(edge, len(numbers)) if "conv" in name else ""
        texts.append(f"{name}{number}({_numbered(inner, numbers)})" if edge >= 0 else name)
    return "+".join(texts)


def _unnumbered(term: Term) -> str:
    name, _, inner = term
    return f"{name}({'+'.join(sorted(map(_unnumbered, inner)))})"


@cache
def _described(arch: Arch) -> np.ndarray:
    """Which sequences of operators lead from input to output (the path encoding, arXiv:1910.11858, skips left out);
    then, over those paths, how many there are, and most, least and mean number of convolutions, 3×3s, 1×1s and pools.
    """
    paths = [[arch[edge] for edge in path] for path in PATHS]
    open_paths = [path for path in paths if NONE not in path]
    present = np.zeros(len(_sequences()))
    for path in open_paths:
        present[_sequences()[tuple(option for option in path if option != SKIP)]] = 1.0
    counts = [
        [sum(option in kinds for option in path) for path in open_paths] or [-1]
        for kinds in ((CONV_1, CONV_3), (CONV_3,), (CONV_1,), (POOL,))
    ]
    summary = [len(open_paths), *(f(c) for c in counts for f in (max, min, np.mean))]
    return np.concatenate([present, summary])


@cache
def _sequences() -> dict[tuple[int, ...], int]:
    """Every sequence of operators a path can hold, numbered."""
    found = [s for length in range(4) for s in product((CONV_1, CONV_3, POOL), repeat=length)]
    return {sequence: number for number, sequence in enumerate(found)}


def describe(archs: np.ndarray) -> np.ndarray:
    """[n, 6] → [n, features]."""
    return np.array([_described(tuple(arch)) for arch in archs.tolist()])
