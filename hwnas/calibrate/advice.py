"""Which estimator to use for a given time: what random search by it could be expected to find.

In a time T an estimator of cost c judges n = (T − setup) / c networks, those it learns from included. Were true and
estimated accuracies jointly normal with correlation ρ, the network it places first of n would lie
    ρ · E[max of n standard normals] ≈ ρ · Φ⁻¹((n − 0.375) / (n + 0.25))
standard deviations above the space's mean (Blom 1958). ρ is the Spearman correlation measured. A yardstick: a strategy
that learns does better than random search, and few networks say little about ρ.
"""

from dataclasses import dataclass

from scipy.special import ndtri

from hwnas.calibrate.run import Answers, Calibrated


@dataclass(frozen=True)
class Advice:
    """`gain`: standard deviations above the mean; None where the time is too short for every estimator."""

    hours: float
    estimator: str | None
    networks: int
    gain: float | None


def advice(calibrated: Calibrated, hours: float) -> Advice:
    found = []
    for answers in (calibrated.truth, *calibrated.estimators):
        count = min(networks_in(calibrated, answers, 3600 * hours), calibrated.space.size())
        rho = 1.0 if answers is calibrated.truth else calibrated.agreement(answers).spearman
        if count >= 2:
            found.append(Advice(hours, answers.plan.label, count, rho * float(ndtri((count - 0.375) / (count + 0.25)))))
    return max(found, key=lambda a: a.gain or 0.0, default=Advice(hours, None, 0, None))


def networks_in(calibrated: Calibrated, answers: Answers, seconds: float) -> int:
    full = calibrated.truth.seconds_each
    left = seconds - answers.setup_seconds
    if left <= answers.lessons * full:
        return int(max(0.0, left) / full)  # all of them are still lessons
    return answers.lessons + int((left - answers.lessons * full) / max(answers.seconds_each, 1e-6))
