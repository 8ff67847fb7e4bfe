"""Is a training going nowhere? Told after every epoch, so that hours are not spent on a learning rate that is too high.

The yardstick is chance: the loss of a network that gives every class the same logit. Constants are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hwnas.core.errors import BadInput

FAR_ABOVE = 3.0
"""Times chance, over a whole epoch: no network that is learning is so wrong so long."""
NO_BETTER, PATIENCE = 0.99, 5
"""Epochs in a row with a loss of at least this share of chance. A network learns nothing in one epoch of warm-up, but
it does in five."""


@dataclass(frozen=True)
class Epoch:
    """`loss`: the mean over its steps, on the labels alone. `chance`: the same loss of equal logits, on its last batch.
    `learning_rate`: of its last step."""

    number: int
    loss: float
    chance: float
    learning_rate: float


def check_learning(label: str, epochs: Sequence[Epoch], setting: str) -> None:
    """`epochs`: so far, in order. Raises BadInput naming the `setting` to lower when the last ones show no learning."""
    last = epochs[-1]
    if last.chance <= 0:
        return  # a loss of the user's own, by another yardstick
    if last.loss > FAR_ABOVE * last.chance:
        what = f"the loss of epoch {last.number + 1} is {last.loss:.3g}, where chance gives {last.chance:.3g}"
    elif len(epochs) >= PATIENCE and all(e.loss >= NO_BETTER * e.chance for e in epochs[-PATIENCE:]):
        what = f"for {PATIENCE} epochs the loss ({last.loss:.3g}) has been no better than chance ({last.chance:.3g})"
    else:
        return
    raise BadInput(f"{label} diverges: {what}", f"lower the rate: --set {setting}={last.learning_rate / 10:.2g}")
