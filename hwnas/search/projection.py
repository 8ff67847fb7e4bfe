"""Exact projection: the best-scored architectures within the budget, as an integer program (scipy's HiGHS).

Variables are x[choice, option] ∈ {0, 1}, one option a choice; a term with several conditions gets a product variable z
with z ≤ x_i and z ≥ Σx_i − (k − 1). Scores and milliseconds are sums, so the optimum is exact, not a rounding.
"""

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array, vstack

from hwnas.core.arch import Arch
from hwnas.latency.additive import Additive
from hwnas.spaces import Space

_MOST_INVALID = 200
"""Invalid tuples cut away before giving up (only spaces whose tuples are not all valid)."""


def project(space: Space, additive: Additive, scores: list[np.ndarray], limit_ms: float, count: int = 1) -> list[Arch]:
    """Up to `count` architectures of the highest Σ scores[choice][option] whose sum is ≤ `limit_ms`, best first.

    Empty when none fits.
    """
    program = _Program(space, additive)
    program.at_most(program.milliseconds, limit_ms - additive.constant)
    found: list[Arch] = []
    for _ in range(count + _MOST_INVALID):
        arch = program.solve(-np.concatenate(scores))
        if arch is None or len(found) == count:
            break
        if space.valid(arch) and additive.sum(arch) <= limit_ms:
            found.append(arch)
        program.exclude(arch)
    return found


def extreme(space: Space, additive: Additive, cheapest: bool) -> Arch:
    """The architecture with the smallest (or largest) sum."""
    program = _Program(space, additive)
    for _ in range(_MOST_INVALID):
        arch = program.solve(program.milliseconds if cheapest else -program.milliseconds)
        assert arch is not None, "a space has at least one architecture"
        if space.valid(arch):
            return arch
        program.exclude(arch)
    raise AssertionError(f"{type(space).__name__}: none of {_MOST_INVALID} solutions is a valid architecture")


class _Program:
    def __init__(self, space: Space, additive: Additive) -> None:
        self.widths = [len(choice.options) for choice in space.choices]
        self.offsets = np.concatenate([[0], np.cumsum(self.widths)]).astype(int)
        products = [when for when in additive.conditions if len(when) > 1]
        self.variables = int(self.offsets[-1]) + len(products)
        self.milliseconds = np.zeros(self.variables)
        self.constraints = [self._one_option_each()]
        product = int(self.offsets[-1])
        for when, value in zip(additive.conditions, additive.values, strict=True):
            if len(when) == 0:
                continue
            if len(when) == 1:
                self.milliseconds[self._column(*when[0])] += value
            else:
                self.milliseconds[product] = value
                self._tie(product, [self._column(*condition) for condition in when])
                product += 1
        self.always = sum(v for w, v in zip(additive.conditions, additive.values, strict=True) if not w)

    def at_most(self, coefficients: np.ndarray, limit: float) -> None:
        self._add(coefficients, -np.inf, limit - self.always)

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
