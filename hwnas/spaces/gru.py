"""GRU (Cho et al. 2014, arXiv:1406.1078) in torch's form, the reset behind the product, by its width."""

from hwnas.spaces._gated import GatedSpace


class Gru(GatedSpace):
    kind, states = "gru", 1
