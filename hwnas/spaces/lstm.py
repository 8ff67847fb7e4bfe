"""LSTM (Hochreiter & Schmidhuber 1997), with forget gates and biases as torch has it, by its width."""

from hwnas.spaces._gated import GatedSettings, GatedSpace
from hwnas.spaces._recurrent import RecurrentSettings


class Lstm(GatedSpace):
    kind, states = "lstm", 2


def lstms_like(settings: RecurrentSettings, classes: int) -> Lstm:
    """The hand-made family beside searched cells: LSTMs by their width, with the same dropout and the same ends."""
    own = {key: getattr(settings, key) for key in RecurrentSettings.model_fields}
    return Lstm(GatedSettings(**own), 0, classes)
