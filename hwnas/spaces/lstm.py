"""LSTM (Hochreiter & Schmidhuber 1997), with forget gates and biases as torch has it, by its width."""

from hwnas.spaces._gated import GatedSpace


class Lstm(GatedSpace):
    kind, states = "lstm", 2
