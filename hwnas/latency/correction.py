"""From a sum of operators to whole networks: a correction fitted on networks measured whole.

Operators timed alone run from warm caches and each pay a call; networks do not. The correction
    ms = scale · Σ operators + per_operator · number of operators + constant + Σ deviation · operators' ms
stays a sum over conditional operators, so predictions remain exact, differentiable and projectable. Operators with an
attribute in common (kernel=5, expand=6, input=16x16 …) have a deviation in common, which is shrunk: a ridge whose prior
says that it is about 4 % of their time. (A deviation for each single operator was tried: on fresh networks it gained
nothing.) Leave-one-out error, not taste, decides which terms are used at all; but a form that gives some network of the
space next to no time, or less than none, is none: few and noisy measurements make such ones.
"""

from dataclasses import dataclass

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.seeds import stream
from hwnas.latency.additive import Additive
from hwnas.operators.opspec import OpSpec

_LINEAR = {"scale": (0,), "scale+constant": (0, 2), "scale+per_operator+constant": (0, 1, 2)}
_DEVIATION, _NOISE = 0.04, 0.01
"""Prior standard deviations: of a group's deviation, and of a network's measurement; both relative."""
_LEAST = 0.05
"""Of the sum of its operators: no network takes less. On CPUs they take 0.8 to 1.5 of it, in microseconds 0.2."""
_OTHERS = 256
"""Random networks that a form must give a sensible time."""


@dataclass(frozen=True)
class Fit:
    """`coefficients` of the columns of `features`; `residuals`: relative, leave-one-out (predicted/true − 1)."""

    form: str
    coefficients: np.ndarray
    residuals: np.ndarray

    def corrected(self, raw: Additive) -> Additive:
        scale, per_operator, constant = self.coefficients[:3]
        deviations = _group_ms(raw) @ self.coefficients[3:]
        return Additive(raw.space, scale * raw.values + per_operator + deviations, constant)


def correction(raw: Additive, archs: list[Arch], measured_ms: np.ndarray) -> Fit:
    """`fit` to networks of `raw`'s space, with random ones of it to judge the forms by."""
    rng = stream(0, "correction")
    others = [raw.space.random(rng) for _ in range(_OTHERS)]
    return fit(features(raw, archs), measured_ms, features(raw, others))


def fit(features: np.ndarray, measured_ms: np.ndarray, others: np.ndarray | None = None) -> Fit:
    """Least relative squares of each form; the one with the smallest leave-one-out error wins.

    `features`: [networks, 3 + groups of deviations, maybe none]; `measured_ms`: [networks]; `others`: features of
    networks that were not measured. Every one of theirs must come to a sensible time.
    """
    relative = features / measured_ms[:, None]  # relative errors: the target becomes 1
    width = features.shape[1]
    forms = _LINEAR | ({"deviations": tuple(range(width))} if width > 3 else {})
    fits = []
    for form, columns in forms.items():
        x = relative[:, columns]
        shrinkage = np.where(np.array(columns) < 3, 0.0, (_NOISE / _DEVIATION) ** 2)
        inverse = np.linalg.pinv(x.T @ x + np.diag(shrinkage))
        coefficients = np.zeros(width)
        coefficients[list(columns)] = inverse @ x.sum(0)
        leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
        residuals = (relative @ coefficients - 1) / np.maximum(1 - leverage, 1e-6)
        if form == "scale" or _is_sensible(coefficients, features, others):
            fits.append(Fit(form, coefficients, residuals))
    return min(fits, key=lambda f: float(np.mean(f.residuals**2)))


def _is_sensible(coefficients: np.ndarray, *networks: np.ndarray | None) -> bool:
    return all(bool((x @ coefficients > _LEAST * x[:, 0]).all()) for x in networks if x is not None)


def features(raw: Additive, archs: list[Arch]) -> np.ndarray:
    """[networks, 3 + groups]: sum of operators in ms, their number, 1, and the ms of each group of operators."""
    on = raw.switched_many(np.array(archs))
    return np.column_stack([on @ raw.values, on.sum(1), np.ones(len(on)), on @ _group_ms(raw)])


def _group_ms(raw: Additive) -> np.ndarray:
    """[terms, groups]: a term's ms in every group it belongs to."""
    memberships = [_groups(conditional.spec) for conditional in raw.space.operators()]
    names = sorted(set().union(*memberships))
    return np.array([[ms * (name in own) for name in names] for ms, own in zip(raw.values, memberships, strict=True)])


def _groups(spec: OpSpec) -> set[str]:
    """Those whose deviation an operator shares."""
    size = "x".join(map(str, spec.input_shape[1:]))
    return {f"input={size}", *(f"{name}={value}" for name, value in spec.attrs)}
