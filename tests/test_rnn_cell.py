"""Recurrent cells: by hand, against torch's own, and their supernet's mixtures."""

import pytest
import torch
from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.operators import build
from hwnas.operators.opspec import OpSpec
from hwnas.operators.recurrent import Gru, Lstm
from hwnas.spaces import Gates, Window, single_path
from hwnas.spaces.rnn_cell import DARTS_1, DARTS_2, RnnCell, RnnCellSettings

WORDS, HIDDEN = 11, 6


def space(*nodes: int, **own: object) -> RnnCell:
    settings = RnnCellSettings.model_validate({"hidden": HIDDEN, "nodes": nodes or (2, 4), **own})
    return RnnCell(settings, 0, WORDS)


def sigmoid(x: float) -> float:
    return float(torch.sigmoid(torch.tensor(x)))


@pytest.mark.parametrize(("act", "f"), [("tanh", 0.761594), ("relu", 1.0), ("sigmoid", 0.731059), ("identity", 1.0)])
def test_a_node_by_hand(act: str, f: float) -> None:
    """s = 2, c = σ(½·2), h = f(½·2)."""
    node = build(OpSpec.of("rnn_node", (1,), act=act))
    with torch.no_grad():
        node.linear.weight.fill_(0.5)  # type: ignore[union-attr]
        out = float(node(torch.tensor([[2.0]])))
    c = sigmoid(1.0)
    assert out == pytest.approx(c * f + (1 - c) * 2, abs=1e-5)


def test_a_cell_by_hand() -> None:
    """Two nodes that both read node 0, one through relu and one through the identity: their mean is the new state."""
    small = RnnCell(RnnCellSettings(hidden=2, nodes=(2,), tied=False), 0, 3)
    net = small.build(small.arch("relu0 identity0"))
    weights = [0.1, 0.2, -0.3]
    layers = [net.cell.input.linear, *(node.linear for node in net.cell.nodes)]  # type: ignore[union-attr]
    with torch.no_grad():
        net.embedding.table.weight.fill_(1.0)  # type: ignore[union-attr]
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight.fill_(weight)
        state = net(torch.tensor([[0.0, 0.5, 0.5]]))[0, 3:]
    z = 0.1 * (1 + 1 + 0.5 + 0.5)
    s0 = 0.5 + sigmoid(z) * (float(torch.tanh(torch.tensor(z))) - 0.5)
    first, second = (0.2 * 2 * s0, -0.3 * 2 * s0)
    s1 = s0 + sigmoid(first) * (max(0.0, first) - s0)
    s2 = s0 + sigmoid(second) * (second - s0)
    assert state.tolist() == pytest.approx([(s1 + s2) / 2] * 2, abs=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gated_cells_are_torchs(kind: str) -> None:
    torch.manual_seed(0)
    word, state, other = torch.randn(3, 4), torch.randn(3, HIDDEN), torch.randn(3, HIDDEN)
    if kind == "lstm":
        ours, theirs = Lstm(4, HIDDEN), nn.LSTMCell(4, HIDDEN)
        with torch.no_grad():
            ours.linear.weight.copy_(torch.cat((theirs.weight_ih, theirs.weight_hh), 1))
            ours.linear.bias.copy_(theirs.bias_ih + theirs.bias_hh)
        expected = torch.cat(theirs(word, (state, other)), 1)
        found = ours(torch.cat((word, state, other), 1))
    else:
        ours, theirs = Gru(4, HIDDEN), nn.GRUCell(4, HIDDEN)
        with torch.no_grad():
            ours.word.weight.copy_(theirs.weight_ih)
            ours.word.bias.copy_(theirs.bias_ih)
            ours.state.weight.copy_(theirs.weight_hh)
            ours.state.bias.copy_(theirs.bias_hh)
        expected, found = theirs(word, state), ours(torch.cat((word, state), 1))
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("cell", [DARTS_1, DARTS_2])
def test_the_published_cells_are_in_the_space(cell: str) -> None:
    eight = space(8)
    arch = eight.arch(cell)
    written = zip(eight.functions(arch), eight.sources(arch), strict=True)
    assert " ".join(f"{function}{source}" for function, source in written) == cell


def test_parameters_by_hand() -> None:
    """Tied: words once, a bias each; node 0 reads word and state, every other node a state; two matrices each."""
    four = space(4)
    expected = WORDS * HIDDEN + WORDS + 2 * HIDDEN * 2 * HIDDEN + 4 * HIDDEN * 2 * HIDDEN
    assert four.params(four.reference()) == expected
    assert space(4, tied=False).params(four.reference()) == expected + WORDS * HIDDEN


def test_nodes_that_are_not_there_cost_and_mean_nothing() -> None:
    both = space(2, 4)
    few, same = (both.check((0, *options)) for options in ([1, 0, 2, 1, 0, 3, 1], [1, 0, 2, 0, 2, 0, 0]))
    assert both.ops(few) == both.ops(same) and both.function(few) == both.function(same)
    assert both.function(few) != both.function((1, *few[1:]))
    assert len(both.build(few).cell.nodes) == 2  # type: ignore[union-attr,arg-type]


def weighted(of: RnnCell, seed: int) -> tuple[Gates, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.rand(len(c.options), generator=generator) + 0.1 for c in of.choices]
    leaves = [(row / row.sum()).requires_grad_() for row in rows]
    return {choice: dict(enumerate(row.unbind())) for choice, row in enumerate(leaves)}, leaves


def test_a_mixture_is_the_sum_that_the_papers_write() -> None:
    """s_i = Σ_j p_j (c_j ⊙ Σ_f q_f f(h_j) + (1 − c_j) ⊙ s_j), and depths the mean of so many nodes; by plain loops."""
    both = space(1, 3)
    net, (gates, leaves) = both.supernet().eval(), weighted(both, 0)
    words = torch.tensor([[1, 2, 3]])
    found = net(Window(words), gates)

    state, outputs = torch.zeros(1, HIDDEN), []
    rows, f = [leaf.detach() for leaf in leaves], [torch.tanh, torch.relu, torch.sigmoid, lambda h: h]
    for word in words[0]:
        nodes = [net.cell.input.step(net.embedding.table(word[None]), state, None)]  # type: ignore[union-attr]
        for number, (source, function) in enumerate(both.places):
            p = torch.ones(1) if source is None else rows[source]
            total = torch.zeros(1, HIDDEN)
            for weight, s in zip(p, nodes, strict=True):
                c, h = net.cell.nodes[number].linear(s).chunk(2, 1)  # type: ignore[union-attr,index]
                mixed = sum(q * g(h) for q, g in zip(rows[function], f, strict=True))
                total = total + weight * (torch.sigmoid(c) * mixed + (1 - torch.sigmoid(c)) * s)
            nodes.append(total)
        state = rows[0][0] * nodes[1] + rows[0][1] * sum(nodes[1:]) / 3
        outputs.append(state)
    assert torch.allclose(found, net.words(torch.cat(outputs)), atol=1e-5)  # type: ignore[operator]

    found.square().sum().backward()
    assert all(leaf.grad is not None and leaf.grad.abs().min() > 0 for leaf in leaves)


def test_a_step_trains_only_the_nodes_of_its_path() -> None:
    both = space(1, 3)
    net = both.supernet().train()
    net(Window(torch.tensor([[1, 2, 3]])), single_path((0,) + (0,) * (len(both.choices) - 1))).sum().backward()
    trained = [node.linear.weight.grad is not None for node in net.cell.nodes]  # type: ignore[union-attr]
    assert trained == [True, False, False]


@pytest.mark.parametrize("own", [{"nodes": []}, {"nodes": [4, 2]}, {"functions": ["tanh", "sin"]}, {"functions": []}])
def test_impossible_settings_are_refused(own: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"nodes must rise|functions are among"):
        RnnCellSettings.model_validate(own)


def test_images_are_refused() -> None:
    with pytest.raises(BadInput, match="reads text"):
        RnnCell(RnnCellSettings(), 3, WORDS)
