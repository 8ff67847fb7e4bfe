"""Watch each network's learning curve, extrapolate it, and stop those that will hardly beat the best so far.

The first networks are trained to the end. From then on, at each of the `checks`, a Gaussian process fitted on the
complete curves forecasts the end of the one at hand from its beginning (`search/curves.py`, `search/forecast.py`). It
is stopped where P(its end > the best end so far) < `chance`, and the forecast's median is its estimate. Domhan et al.
(2015) stop by the same rule, with curves of a parametric form.

Measured (docs/results/estimators.md): NAS-Bench-201, 25 % of the epochs seen: Spearman .98 to the end.
"""

import numpy as np
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.search.curves import describe
from hwnas.search.estimators import Means
from hwnas.search.estimators._curves import Point
from hwnas.search.estimators._watched import Judged, Watched, WatchedSettings
from hwnas.search.forecast import Forecast


class LearningCurveSettings(WatchedSettings):
    first: int = Field(default=10, ge=2)
    """Trained to the end, to learn from."""
    checks: tuple[float, ...] = (0.25, 0.5)
    """Where it may stop, as shares of the epochs."""
    chance: float = Field(default=0.05, ge=0, le=1)
    """Of beating the best so far, below which it stops. 1: always, at the first check."""


class LearningCurve(Watched):
    Settings = LearningCurveSettings

    def __init__(self, means: Means, settings: LearningCurveSettings) -> None:
        super().__init__(means, settings)
        self.lessons = settings.first
        self.checks = {max(1, round(share * self.full)) for share in settings.checks}

    def stops(self, arch: Arch, curve: list[Point]) -> bool:
        complete = self.complete
        if len(complete) < self.settings.first or len(curve) not in self.checks:
            return False
        best = max(judged.accuracy for judged in complete)
        chance = self.settings.chance
        return chance >= 1 or self._forecast(curve).chance_above(best) < chance

    def estimate(self, arch: Arch, curve: list[Point]) -> Judged:
        found = self._forecast(curve)
        return Judged(arch, len(curve), found.accuracy, found.interval_90)

    def _forecast(self, curve: list[Point]) -> Forecast:
        known = [self.curve_of(judged) for judged in self.complete]
        beginnings = np.array([[point[:2] for point in c[: len(curve)]] for c in [*known, curve]])
        features, ends = describe(beginnings), np.array([c[-1].search for c in known])
        return Forecast.of_each(features[:-1], ends, features[-1:])[0]
