"""NAS-RL's tree cell: the paper's own example, its space's size, and what the places mean."""

import math

import pytest
import torch

from hwnas.core.errors import BadInput
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Window, single_path
from hwnas.spaces.rnn_tree import Plan, RnnTree, RnnTreeSettings

HIDDEN, WORDS = 5, 11


def space(leaves: int = 8) -> RnnTree:
    return RnnTree(RnnTreeSettings(hidden=HIDDEN, leaves=leaves), 0, WORDS)


def test_the_papers_example() -> None:
    """Figure 5 and the text below it: a tree of two leaves, step by step."""
    two = space(2)
    named = {
        "node0_combine": "add", "node0_function": "tanh",
        "node1_combine": "multiply", "node1_function": "relu",
        "node2_combine": "multiply", "node2_function": "sigmoid",
        "inject_combine": "add", "inject_function": "relu",
        "inject_at": "node0", "memory_from": "node1",
    }  # fmt: skip
    arch = two.check(tuple(choice.options.index(named[choice.name]) for choice in two.choices))
    steps = (("add", "tanh"), ("multiply", "relu"), ("multiply", "sigmoid"))
    assert two.plan(arch) == Plan(steps, ("add", "relu"), inject_at=0, memory_from=1)

    torch.manual_seed(0)
    cell = two.build(arch).cell
    x, h, c = (torch.randn(3, HIDDEN) for _ in range(3))
    w1, w2, w3, w4 = (m.weight for leaf in cell.leaves for m in (leaf.word, leaf.output))  # type: ignore[union-attr]
    a0 = torch.relu(torch.tanh(x @ w1.T + h @ w2.T) + c)
    memory = (x @ w3.T) * (h @ w4.T)
    new = torch.sigmoid(a0 * torch.relu(memory))
    found = cell.step(x, torch.cat((h, c), 1), None)  # type: ignore[operator]
    assert torch.allclose(found, torch.cat((new, memory), 1), atol=1e-6)


def test_eight_leaves_are_the_papers_number_of_cells() -> None:
    """Section 4.2: about 6 · 10^16."""
    assert space().size() == 8**15 * 8 * 15 * 15
    assert math.isclose(space().size(), 6e16, rel_tol=0.06)


def test_every_node_reads_its_two_children() -> None:
    """Of a tree of additions and identities, the root is the sum of all leaves."""
    four = space(4)
    options = {"add": 0, "identity": four.choices[1].options.index("identity")}
    arch = [options["add"], options["identity"]] * 8 + [6, 6]
    cell = four.build(four.check(tuple(arch))).cell
    x, h, c = (torch.randn(2, HIDDEN) for _ in range(3))
    leaves = sum(sum(leaf.both(x, h, None)) for leaf in cell.leaves)  # type: ignore[union-attr]
    output, memory = cell.step(x, torch.cat((h, c), 1), None).chunk(2, 1)  # type: ignore[operator]
    assert torch.allclose(output, leaves + c, atol=1e-5) and torch.allclose(memory, leaves, atol=1e-5)


def test_parameters_are_the_leaves_and_the_words() -> None:
    """Two matrices a leaf; whatever the cell."""
    tree = space()
    expected = WORDS * HIDDEN + WORDS + 8 * 2 * HIDDEN * HIDDEN
    assert {tree.params(tree.reference()), tree.params((0,) * len(tree.choices))} == {expected}


def test_a_leaf_as_an_operator_is_the_leaf_in_the_cell() -> None:
    leaf = build(OpSpec.of("tree_leaf", (2 * HIDDEN,), hidden=HIDDEN, combine="multiply", act="sigmoid"))
    x, h = torch.randn(2, HIDDEN), torch.randn(2, HIDDEN)
    a, b = leaf.both(x, h, None)  # type: ignore[operator]
    assert torch.equal(leaf(torch.cat((x, h), 1)), torch.sigmoid(a * b))


def test_one_step_trains_every_leaf_of_the_supernet() -> None:
    tree = space(4)
    net = tree.supernet().train()
    net(Window(torch.tensor([[1, 2, 3]])), single_path(tree.reference())).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("leaves", [1, 3, 6])
def test_a_tree_has_a_power_of_two_leaves(leaves: int) -> None:
    with pytest.raises(ValueError, match=r"power of two|greater than or equal"):
        RnnTreeSettings(leaves=leaves)


def test_unknown_nodes_are_refused() -> None:
    for kind, own in (("tree_leaf", {"hidden": 2}), ("tree_node", {})):
        for bad in ({"combine": "max", "act": "tanh"}, {"combine": "add", "act": "sin"}):
            with pytest.raises(BadInput, match="known: "):
                build(OpSpec.of(kind, (4,), **own, **bad))(torch.zeros(1, 4))
