"""Exact projection: the best-scored architectures within the budget, as an integer program (scipy's HiGHS).

Variables are x[choice, option] ∈ {0, 1}, one option a choice; a term with several conditions gets a product variable z
with z ≤ x_i and z ≥ Σx_i − (k − 1). Scores and milliseconds are sums, so the optimum is exact, not a rounding. Other
sums over the same operators may be bounded beside the milliseconds.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array, vstack

from hwnas.core.arch import Arch
from hwnas.core.errors import Infeasible
from hwnas.latency.additive import Additive
from hwnas.spaces import Space

Bound = tuple[Additive, float]
"""A sum over the space's operators, and what it may be at most."""

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
        conditions = [conditional.when for conditional in space.operators()]
        products = [when for when in conditions if len(when) > 1]
        self.variables = int(self.offsets[-1]) + len(products)
        self.constraints = [self._one_option_each()]
        self.columns: list[int | None] = []
        """Of each operator; None for one that is always there."""
        product = int(self.offsets[-1])
        for when in conditions:
            if len(when) > 1:
                self._tie(product, [self._column(*condition) for condition in when])
                self.columns.append(product)
                product += 1
            else:
                self.columns.append(self._column(*when[0]) if when else None)

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
            self._add(coefficients / scale, -np.inf, (most - always) / scale)

    def exclude(self, arch: Arch) -> None:
        """No-good cut."""
        row = np.zeros(self.variables)
        row[[self._column(c, o) for c, o in enumerate(arch)]] = 1
        self._add(row, -np.inf, len(arch) - 1)

    def solve(self, objective: np.ndarray) -> Arch | None:
        """Minimise; None when infeasible."""
        padded = np.zeros(self.variables)
        padded[: len(objective)] = objective
        result = milp(
            padded,
            constraints=self._joined(),
            bounds=Bounds(0, 1),
            integrality=np.ones(self.variables),
            options={"mip_rel_gap": 0.0},
        )
        if result.x is None:
            return None
        parts = np.split(result.x[: self.offsets[-1]], self.offsets[1:-1])
        return tuple(int(part.argmax()) for part in parts)

    def _column(self, choice: int, option: int) -> int:
        return int(self.offsets[choice]) + option

    def _one_option_each(self) -> LinearConstraint:
        rows = lil_array((len(self.widths), self.variables))
        for choice, width in enumerate(self.widths):
            rows[choice, self.offsets[choice] : self.offsets[choice] + width] = 1
        return LinearConstraint(rows.tocsr(), 1, 1)

    def _tie(self, product: int, columns: list[int]) -> None:
        for column in columns:
            row = np.zeros(self.variables)
            row[product], row[column] = 1, -1
            self._add(row, -np.inf, 0)
        row = np.zeros(self.variables)
        row[columns], row[product] = 1, -1
        self._add(row, -np.inf, len(columns) - 1)

    def _add(self, row: np.ndarray, low: float, high: float) -> None:
        self.constraints.append(LinearConstraint(lil_array(row[None]).tocsr(), low, high))

    def _joined(self) -> LinearConstraint:
        matrices = vstack([c.A for c in self.constraints])
        lows = np.concatenate([np.broadcast_to(c.lb, c.A.shape[0]) for c in self.constraints])
        highs = np.concatenate([np.broadcast_to(c.ub, c.A.shape[0]) for c in self.constraints])
        return LinearConstraint(matrices, lows, highs)  # type: ignore[arg-type]
