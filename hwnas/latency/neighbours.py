"""What the sum of an architecture's operators cannot see: which of them are on, and which kinds follow each other."""

import numpy as np

from hwnas.latency.additive import Additive
from hwnas.operators.opspec import OpSpec

_WIDTHS = ("out", "classes")


class Neighbours:
    """Of one space; the operators' order is that of `space.operators()`, which is forward order."""

    def __init__(self, raw: Additive) -> None:
        self._raw = raw
        kinds = [_kind(conditional.spec) for conditional in raw.space.operators()]
        known = {kind: number for number, kind in enumerate(sorted(set(kinds)))}
        self._kinds = np.array([known[kind] for kind in kinds])
        self._count = len(known)

    def describe(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → [n, terms + kinds²]: a 1 for each operator that is on, then how often b follows a."""
        on = self._raw.switched_many(archs)
        follows = np.zeros((len(archs), self._count, self._count))
        last = np.full(len(archs), -1)
        for term, kind in enumerate(self._kinds):
            rows = np.flatnonzero(on[:, term])
            later = rows[last[rows] >= 0]
            follows[later, last[later], kind] += 1
            last[rows] = kind
        return np.column_stack([on, follows.reshape(len(archs), -1)])


def _kind(spec: OpSpec) -> str:
    """An operator without its widths and sizes."""
    return f"{spec.kind}({','.join(f'{name}={value}' for name, value in spec.attrs if name not in _WIDTHS)})"
