"""Exact projection: the best-scored architectures within the budget, as an integer program (scipy's HiGHS).

Variables are x[choice, option] ∈ {0, 1}, one option a choice; a term with several conditions gets a product variable z
with z ≤ x_i and z ≥ Σx_i − (k − 1). Terms that hold all combinations of some options are tied together (Σz ≤ x_i over
those that need x_i), which keeps the relaxation tight (Sherali & Adams 1990) and thousands of terms a matter of a
second. Scores and milliseconds are sums, so the optimum is exact, not a rounding. Other sums over the same operators
may be bounded beside the milliseconds.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from hwnas.core.arch import Arch
from hwnas.core.errors import Infeasible
from hwnas.latency.additive import Additive
from hwnas.spaces import Space

Bound = tuple[Additive, float]
"""A sum over the space's operators, and what it may be at most."""

When = tuple[tuple[int, int], ...]
"""The (choice, option) pairs that switch an operator on, sorted."""

_MOST_INVALID = 200
"""Invalid tuples cut away before giving up (only spaces whose tuples are not all valid)."""


def project(
    space: Space,
    additive: Additive,
    scores: list[np.ndarray],
    limit_ms: float,
    count: int = 1,
    bounds: Sequence[Bound] = (),
) -> list[Arch]:
    """Up to `count` architectures of the highest Σ scores[choice][option] whose sum is ≤ `limit_ms`, best first; all
    within `bounds`. Empty when none fits.
    """
    program = _Program(space)
    program.bound([(additive, limit_ms), *bounds])
    found: list[Arch] = []
    for _ in range(count + _MOST_INVALID):
        arch = program.solve(-np.concatenate(scores))
        if arch is None or len(found) == count:
            break
        if _within(space, arch, [*bounds, (additive, limit_ms)]):
            found.append(arch)
        program.exclude(arch)
    return found


def extreme(space: Space, additive: Additive, cheapest: bool, bounds: Sequence[Bound] = ()) -> Arch:
    """The architecture with the smallest (or largest) sum. Raises Infeasible when none is within `bounds`."""
    program = _Program(space)
    program.bound(bounds)
    sums, _ = program.row(additive)
    for _ in range(_MOST_INVALID):
        arch = program.solve(sums if cheapest else -sums)
        if arch is None:
            assert bounds, "a space has at least one architecture"
            raise Infeasible("no network of the space keeps all bounds together", "loosen one of them")
        if _within(space, arch, bounds):
            return arch
        program.exclude(arch)
    raise AssertionError(f"{type(space).__name__}: none of {_MOST_INVALID} solutions is a valid architecture")


def _within(space: Space, arch: Arch, bounds: Sequence[Bound]) -> bool:
    """Exactly; the solver has a tolerance."""
    return space.valid(arch) and all(additive.sum(arch) <= most for additive, most in bounds)


class _Program:
    def __init__(self, space: Space) -> None:
        self.widths = [len(choice.options) for choice in space.choices]
        self.offsets = np.concatenate([[0], np.cumsum(self.widths)]).astype(int)
        conditions: list[When] = [tuple(sorted(conditional.when)) for conditional in space.operators()]
        products = list(dict.fromkeys(when for when in conditions if len(when) > 1))
        place: dict[When, int] = {when: int(self.offsets[-1]) + number for number, when in enumerate(products)}
        self.variables = int(self.offsets[-1]) + len(products)
        self.columns: list[int | None] = [
            self._column(*when[0]) if len(when) == 1 else place.get(when) for when in conditions
        ]
        """Of each operator; None for one that is always there."""
        self.rows: list[tuple[list[int], list[float], float, float]] = []
        """Columns, their coefficients, the least and the most of the sum."""
        for choice, width in enumerate(self.widths):
            self._add([self._column(choice, option) for option in range(width)], [1.0] * width, 1, 1)
        for group in _full_products(products):
            self._tie({when: place[when] for when in group})

    def row(self, additive: Additive) -> tuple[np.ndarray, float]:
        """A sum's coefficients, and what every architecture pays."""
        coefficients, always = np.zeros(self.variables), additive.constant
        for column, value in zip(self.columns, additive.values, strict=True):
            if column is None:
                always += value
            else:
                coefficients[column] += value
        return coefficients, always

    def bound(self, bounds: Sequence[Bound]) -> None:
        """Rows brought near 1, for the solver's tolerance is absolute: milliseconds are too small, bytes too large."""
        for additive, most in bounds:
            coefficients, always = self.row(additive)
            scale = float(np.abs(coefficients).max(initial=0.0)) or 1.0
            self._add([*range(self.variables)], [*coefficients / scale], -np.inf, (most - always) / scale)

    def exclude(self, arch: Arch) -> None:
        """No-good cut."""
        self._add([self._column(c, o) for c, o in enumerate(arch)], [1.0] * len(arch), -np.inf, len(arch) - 1)

    def solve(self, objective: np.ndarray) -> Arch | None:
        """Minimise; None when infeasible."""
        options = int(self.offsets[-1])
        padded, whole = np.zeros(self.variables), np.zeros(self.variables)
        padded[: len(objective)] = objective
        whole[:options] = 1  # the products then are whole by themselves
        result = milp(
            padded,
            constraints=self._joined(),
            bounds=Bounds(0, 1),
            integrality=whole,
            options={"mip_rel_gap": 0.0},
        )
        if result.x is None:
            return None
        parts = np.split(result.x[:options], self.offsets[1:-1])
        return tuple(int(part.argmax()) for part in parts)

    def _column(self, choice: int, option: int) -> int:
        return int(self.offsets[choice]) + option

    def _tie(self, products: Mapping[When, int]) -> None:
        """Of a group: Σ z that need an option ≤ its x, and Σ z ≥ Σ x of all options needed − (k − 1)."""
        needing: dict[tuple[int, int], list[int]] = defaultdict(list)
        for when, column in products.items():
            for condition in when:
                needing[condition].append(column)
        for condition, columns in needing.items():
            self._add([*columns, self._column(*condition)], [*[1.0] * len(columns), -1.0], -np.inf, 0)
        options, choices = [self._column(*condition) for condition in needing], {choice for choice, _ in needing}
        signs = [*[1.0] * len(options), *[-1.0] * len(products)]
        self._add([*options, *products.values()], signs, -np.inf, len(choices) - 1)

    def _add(self, columns: list[int], coefficients: list[float], low: float, high: float) -> None:
        self.rows.append((columns, coefficients, low, high))

    def _joined(self) -> LinearConstraint:
        columns, coefficients, lows, highs = zip(*self.rows, strict=True)
        ends = np.concatenate([[0], np.cumsum([len(row) for row in columns])])
        shape = (len(self.rows), self.variables)
        matrix = csr_array((np.concatenate(coefficients), np.concatenate(columns), ends), shape=shape)
        return LinearConstraint(matrix, lows, highs)  # type: ignore[arg-type]


def _full_products(whens: Iterable[When]) -> Iterator[list[When]]:
    """Groups that hang on the same choices and hold every combination of the options they name. A single one does."""
    alike: dict[tuple[int, ...], list[When]] = defaultdict(list)
    for when in whens:
        alike[tuple(choice for choice, _ in when)].append(when)
    for group in alike.values():
        full = prod(len(set(conditions)) for conditions in zip(*group, strict=True))
        yield from [group] if len(group) == full else ([when] for when in group)
