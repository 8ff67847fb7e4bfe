"""A cost that is a sum of conditional operators: exact for one architecture, differentiable for a distribution.

Each term is an operator's milliseconds and the (choice, option) pairs that switch it on. A discrete cost sums the terms
whose conditions hold; an expected one sums ms · Π p(choice = option), the choices being independent.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.spaces import Space


class Additive:
    """`values`: one number a conditional operator of the space, in the order of `space.operators()`."""

    def __init__(self, space: Space, values: np.ndarray, constant: float = 0.0) -> None:
        self.space, self.values, self.constant = space, np.asarray(values, dtype=np.float64), float(constant)
        self.conditions = [c.when for c in space.operators()]
        self._widths = [len(choice.options) for choice in space.choices]

    def switched(self, arch: Arch) -> list[bool]:
        """Which terms `arch` switches on."""
        return [all(arch[c] == o for c, o in when) for when in self.conditions]

    def switched_many(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → [n, terms] of 0 and 1."""
        on = np.ones((len(archs), len(self.conditions)))
        for term, when in enumerate(self.conditions):
            for choice, option in when:
                on[:, term] *= archs[:, choice] == option
        return on

    def sum(self, arch: Arch) -> float:
        # Added up as by `sum_many`, to the last bit: else a network on the limit is within it for one of the two alone.
        total = self.constant + self._always
        for choices, lookup in self._lookups:
            total += float(lookup[tuple(arch[choice] for choice in choices)])
        return total

    def sum_many(self, archs: np.ndarray) -> np.ndarray:
        """`archs`: [n, choices] integers → [n]."""
        total = np.full(len(archs), self.constant + self._always)
        for choices, lookup in self._lookups:
            total += lookup[tuple(archs[:, choice] for choice in choices)]
        return total

    def expected(self, probabilities: Sequence[Tensor]) -> Tensor:
        """One [options] tensor a choice → scalar, differentiable."""
        flat = torch.cat([*probabilities, probabilities[0].new_ones(1)])
        values = torch.as_tensor(self.values, dtype=flat.dtype, device=flat.device)
        return flat[self._index.to(flat.device)].prod(-1) @ values + self.constant

    def marginal_costs(self) -> list[np.ndarray]:
        """Per choice: each option's share of the sum, other choices uniform. Ranks options; not a prediction."""
        return self._marginal_costs

    @cached_property
    def _marginal_costs(self) -> list[np.ndarray]:
        costs = [np.zeros(width) for width in self._widths]
        for when, value in zip(self.conditions, self.values, strict=True):
            for choice, option in when:
                others = np.prod([1 / self._widths[c] for c, _ in when if c != choice])
                costs[choice][option] += value * others
        return costs

    @cached_property
    def _index(self) -> Tensor:
        """[terms, most conditions] into the flattened probabilities; padding points at the 1 behind them."""
        offsets = np.concatenate([[0], np.cumsum(self._widths)])
        most = max(1, *(len(when) for when in self.conditions))
        rows = [[int(offsets[c]) + o for c, o in when] for when in self.conditions]
        return torch.tensor([row + [int(offsets[-1])] * (most - len(row)) for row in rows])

    @cached_property
    def _always(self) -> float:
        return float(sum(v for v, when in zip(self.values, self.conditions, strict=True) if not when))

    @cached_property
    def _lookups(self) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """Terms that hang on the same choices share one dense array over their options."""
        tables: dict[tuple[int, ...], np.ndarray] = {}
        terms: dict[tuple[int, ...], list[tuple[tuple[int, ...], float]]] = defaultdict(list)
        for when, value in zip(self.conditions, self.values, strict=True):
            if when:
                ordered = sorted(when)
                terms[tuple(c for c, _ in ordered)].append((tuple(o for _, o in ordered), value))
        for choices, pairs in terms.items():
            tables[choices] = np.zeros([self._widths[c] for c in choices])
            for options, value in pairs:
                tables[choices][options] += value
        return list(tables.items())
