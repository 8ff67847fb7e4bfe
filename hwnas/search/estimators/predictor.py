"""Train the first networks fully, and predict the others from their choices alone (`Space.features`).

A Gaussian process forecasts, with its uncertainty (`search/forecast.py`); it learns from nothing but the first ones, so
that later answers do not depend on the order of the questions. The strategy `guided` learns from all it is told.
"""

import numpy as np
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.search.estimators import Means
from hwnas.search.estimators._curves import Point
from hwnas.search.estimators._watched import Judged, Watched, WatchedSettings
from hwnas.search.forecast import Forecast


class PredictorSettings(WatchedSettings):
    first: int = Field(default=20, ge=2)
    """Trained fully."""


class Predictor(Watched):
    Settings = PredictorSettings

    def __init__(self, means: Means, settings: PredictorSettings) -> None:
        super().__init__(means, settings)
        self.lessons = settings.first

    def stops(self, arch: Arch, curve: list[Point]) -> bool:
        return not curve and len(self.complete) >= self.settings.first

    def estimate(self, arch: Arch, curve: list[Point]) -> Judged:
        complete = self.complete
        features = self.means.space.features(np.array([*(judged.arch for judged in complete), arch]))
        accuracies = np.array([judged.accuracy for judged in complete])
        found = Forecast.of_each(features[:-1], accuracies, features[-1:])[0]
        return Judged(arch, 0, found.accuracy, found.interval_90)
