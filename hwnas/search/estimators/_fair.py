"""Strict fairness (FairNAS, Chu et al. 2021, arXiv:1907.01845, section 3.2 and algorithm 1).

One update: m = options of a choice; m single paths on the same batch, whose options of each choice are a random
permutation; their gradients are summed. So every option is trained equally often, at the same state of the weights it
shares, where uniform paths leave some behind by chance.

The paper's choices all have m options. Here m is that of the largest choice, and each choice deals its options from a
shuffled deck, a new one when it is empty: a permutation an update for the largest, and for every choice of k options
each of them once in k paths running, whatever the updates' boundaries; the rest of a deck is kept for the next update.
"""

import torch
from torch import Tensor

from hwnas.search.estimators._uniform import Uniform
from hwnas.spaces import Gates, Space, single_path


class Fair(Uniform):
    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.decks: list[list[int]] = [[] for _ in self.widths]

    @property
    def passes(self) -> int:
        return max(self.widths)

    def gates(self, generator: torch.Generator) -> Gates:
        for deck, width in zip(self.decks, self.widths, strict=True):
            if not deck:
                deck += torch.randperm(width, generator=generator).tolist()
        return single_path(tuple(deck.pop() for deck in self.decks))

    def state(self) -> dict[str, Tensor]:
        return {str(choice): torch.tensor(deck, dtype=torch.int64) for choice, deck in enumerate(self.decks)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.decks = [state[str(choice)].tolist() for choice in range(len(self.widths))]
