"""A device never profiled, from ten whole networks measured on it and what other devices take for the same networks.

A network x is described by z(x): the milliseconds f₁(x) … f_T(x) that the T other devices take, each divided by that
device's median, and features φ₁(x) … φ_d(x): whatever a device may charge for (a constant, operators, multiply-
accumulates, bytes …), each scaled to the same size. The new device takes
    ms(x) = speed · (z(x)·w + noise),    w ~ N((1/T … 1/T, 0 … 0), diag(1²/T …, 0.1² …)),
so it is at first the mean of the others, at a speed of its own, and differs from them in ways in which they differ from
each other (f) or which the features name (φ). Noise is relative to the milliseconds. A measurement may be a spike, so
the noise is a Student t (by reweighting), and how noisy the device is remains open (an inverse gamma variance).

The ten are chosen before anything is measured: greedily those after which the mean relative variance over all networks
is smallest (I-optimal design; it depends on z and the prior alone). How wide intervals must be is learnt by leaving out
each other device in turn: no model's own 95 % is to be trusted on a device unlike the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwnas.core.errors import BadInput

FEWEST = 3
"""Measurements below which speed and differences cannot be told apart at all."""
_OTHERS, _FEATURES = 1.0, 0.1
"""Prior standard deviations: of all the others' weights together, and of each feature's share of the latency."""
_NOISE = 0.05
"""Relative standard deviation of a measurement, as far as the choice of networks goes."""
_LEAST_NOISE = 0.03
"""Ten residuals can be small by chance."""
_TAIL = 8.0
"""Degrees of freedom of a measurement's noise: a spike ten deviations off counts as 1/13 of one."""
_BELIEF = 6.0
"""How many measurements the prior of a device's noise is worth."""
_FAST = 0.5
"""Of the median. A faster network is as noisy as one that takes this, and never matters more."""
_LEAST = 1e-3
"""Of the median. No network is predicted faster."""


class Transfer:
    """What is known before the new device is touched. Made by `learn`; `noise` and `widen` are what it learns.

    `features`: [networks, d]; `others_ms`: [devices, networks], measured, or predicted from the devices' tables;
    `noise`: variance of a typical device, in units of (5 %)²; `widen`: half an interval in standard deviations.
    """

    def __init__(self, features: np.ndarray, others_ms: np.ndarray, noise: float = 1.0, widen: float = 2.0) -> None:
        features, others_ms = checked(features, others_ms)
        self.noise, self.widen = noise, widen
        self.medians = np.median(others_ms, axis=1)
        self.base = (others_ms / self.medians[:, None]).mean(0)
        """Mean of the other devices, each at its own speed: [networks], about 1."""
        sizes = np.sqrt((features**2).mean(0)) / self.base.mean()
        self.sizes = np.where(sizes > 0, sizes, np.inf)
        self.rows = self.describe(features, others_ms)
        counts = [len(others_ms), features.shape[1]]
        self.mean = np.repeat([1 / counts[0], 0.0], counts)
        self.covariance = np.diag(np.repeat([_OTHERS**2 / counts[0], _FEATURES**2], counts))

    def describe(self, features: np.ndarray, others_ms: np.ndarray) -> np.ndarray:
        """z: [n, devices + d]."""
        return np.column_stack([(others_ms / self.medians[:, None]).T, features / self.sizes])

    def choose(self, count: int, among: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """The networks to measure: [count] different indices, most telling first. The same for every new device.

        `among`: those that can be measured at all; None for every network.
        """
        candidates = np.arange(len(self.rows)) if among is None else np.asarray(among, dtype=int)
        if not 0 < count <= len(candidates):
            raise BadInput(f"{count} networks cannot be chosen from {len(candidates)}", "give more networks")
        relative = self.rows / np.maximum(self.base, _FAST)[:, None]
        population = relative.T @ relative / len(relative)
        relative = relative[candidates]
        covariance, chosen = self.covariance, []
        for _ in range(count):
            spread = relative @ covariance
            variance = (spread * relative).sum(1) + _NOISE**2
            gain = ((spread @ population) * spread).sum(1) / variance
            gain[chosen] = -np.inf
            best = int(gain.argmax())
            chosen.append(best)
            covariance = covariance - np.outer(spread[best], spread[best]) / variance[best]
        return candidates[chosen]

    def fit(self, indices: Sequence[int] | np.ndarray, measured_ms: Sequence[float] | np.ndarray) -> "NewDevice":
        """The posterior after network `indices[i]` took `measured_ms[i]` on the new device.

        Raises BadInput for fewer than 3, for a network that is unknown or given twice, and for times ≤ 0 or NaN.
        """
        indices, measured_ms = np.asarray(indices, dtype=int), np.asarray(measured_ms, dtype=np.float64)
        self._check(indices, measured_ms)
        rows, expected = self.rows[indices], self.base[indices]
        speed = float(np.exp(np.median(np.log(measured_ms / expected))))
        excess = measured_ms / speed - rows @ self.mean
        shared = self.covariance @ rows.T
        spikes = np.ones(len(indices))
        for _ in range(8):  # the noise is relative to what is being estimated, and so is what counts as a spike
            noise = np.diag((_NOISE * np.maximum(expected, _FAST)) ** 2 * spikes)
            solved = np.linalg.solve(rows @ shared + noise, np.column_stack([excess, shared.T]))
            weights = self.mean + shared @ solved[:, 0]
            expected = rows @ weights
            residuals = np.abs(measured_ms / speed - expected) / np.maximum(expected, _FAST)
            typical = max(1.48 * float(np.median(residuals)), _LEAST_NOISE)  # 1.48: a normal's deviation per median
            spikes = 1 + (residuals / typical) ** 2 / _TAIL
        surprise = float(excess @ solved[:, 0])
        variance = (_BELIEF * self.noise + surprise) / (_BELIEF + len(indices))
        covariance = variance * (self.covariance - shared @ solved[:, 1:])
        return NewDevice(self, speed, weights, covariance, variance, surprise / len(indices))

    def _check(self, indices: np.ndarray, measured_ms: np.ndarray) -> None:
        if indices.ndim != 1 or indices.shape != measured_ms.shape:
            raise BadInput(f"{indices.size} networks but {measured_ms.size} measurements", "give one time a network")
        if len(indices) < FEWEST:
            raise BadInput(f"{len(indices)} measurements are too few", f"measure at least {FEWEST} networks, better 10")
        if len(set(indices.tolist())) < len(indices) or not 0 <= indices.min() <= indices.max() < len(self.rows):
            raise BadInput("the measured networks are not different known ones", "measure those that `choose` names")
        if not (np.isfinite(measured_ms).all() and (measured_ms > 0).all()):
            raise BadInput("a measured latency is not a positive number of milliseconds", "measure that network again")


@dataclass(frozen=True)
class NewDevice:
    """The predictor: ms = `speed` · z·`weights`, whose `covariance` and noise `variance` are relative to it.

    `surprise`: how far the measurements were from expected, per measurement; 1 where a noise of 5 % explains them.
    """

    transfer: Transfer
    speed: float
    weights: np.ndarray
    covariance: np.ndarray
    variance: float
    surprise: float

    def predict(self, features: np.ndarray, others_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[n, d], [devices, n] → ms, and the bounds between which 95 % of networks measure; each [n].

        Raises BadInput for other devices or features than those learnt from, and for impossible values.
        """
        features, others_ms = checked(features, others_ms)
        if len(others_ms) != len(self.transfer.medians) or features.shape[1] != len(self.transfer.sizes):
            raise BadInput(
                f"learnt from {len(self.transfer.medians)} devices and {len(self.transfer.sizes)} features, given "
                f"{len(others_ms)} and {features.shape[1]}",
                "give the same devices and features in the same order",
            )
        ms, deviation = self.moments(self.transfer.describe(features, others_ms))
        half = self.transfer.widen * deviation
        return ms, np.maximum(ms - half, _LEAST * self.speed), ms + half

    def moments(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z → ms and standard deviation, a measurement's noise included."""
        relative = np.maximum(rows @ self.weights, _LEAST)
        noise = self.variance * (_NOISE * np.maximum(relative, _FAST)) ** 2
        return relative * self.speed, np.sqrt(((rows @ self.covariance) * rows).sum(1) + noise) * self.speed


def learn(
    features: np.ndarray, others_ms: np.ndarray, measured_ms: np.ndarray | None = None, count: int = 10
) -> Transfer:
    """Leaves out each other device, chooses and "measures" `count` networks on it, and sees how wrong the rest is.

    `measured_ms`: [devices, networks], what was measured where `others_ms` is predicted, NaN where nothing was; None if
    `others_ms` are measurements. A device with no more than `count` of them is not left out. Raises BadInput for
    fewer than two devices, when none can be left out, and for impossible values.
    """
    features, others_ms = checked(features, others_ms)
    measured_ms = others_ms if measured_ms is None else np.asarray(measured_ms, dtype=np.float64)
    if measured_ms.shape != others_ms.shape:
        raise BadInput(
            f"{measured_ms.shape} measured but {others_ms.shape} predicted", "NaN where nothing was measured"
        )
    if len(others_ms) < 2:
        raise BadInput("a transfer learns from at least two other devices", "profile another target, or import a table")
    surprises = [device.surprise for device, *_ in _left_out(features, others_ms, measured_ms, count, 1.0)]
    noise = float(np.mean(surprises))
    ratios = []
    for device, unseen, true_ms in _left_out(features, others_ms, measured_ms, count, noise):
        ms, deviation = device.moments(device.transfer.rows[unseen])
        ratios.append(np.abs(ms - true_ms) / deviation)
    return Transfer(features, others_ms, noise, float(np.quantile(np.concatenate(ratios), 0.95)))


def _left_out(
    features: np.ndarray, others_ms: np.ndarray, measured_ms: np.ndarray, count: int, noise: float
) -> list[tuple[NewDevice, np.ndarray, np.ndarray]]:
    """Each other device as if it were new: its predictor, the networks measured on it but not told, their true ms."""
    found = []
    for new, true_ms in enumerate(measured_ms):
        transfer = Transfer(features, np.delete(others_ms, new, 0), noise)
        known = np.flatnonzero(~np.isnan(true_ms))
        if len(known) <= count:
            continue
        chosen = transfer.choose(count, known)
        unseen = np.setdiff1d(known, chosen)
        found.append((transfer.fit(chosen, true_ms[chosen]), unseen, true_ms[unseen]))
    if not found:
        raise BadInput(f"on none of the other devices more than {count} networks were measured", "profile one further")
    return found


def checked(features: np.ndarray, others_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64. Raises BadInput when they do not belong together or hold an impossible value."""
    features, others_ms = np.asarray(features, dtype=np.float64), np.asarray(others_ms, dtype=np.float64)
    if features.ndim != 2 or others_ms.ndim != 2 or len(features) != others_ms.shape[1] or others_ms.size == 0:
        raise BadInput(
            f"features {features.shape} and other devices' latencies {others_ms.shape} do not belong together",
            "give [networks, features] and [devices, networks]",
        )
    if not np.isfinite(features).all():
        raise BadInput("a feature of a network is not a finite number", "compute the features again")
    if not (np.isfinite(others_ms).all() and (others_ms > 0).all()):
        raise BadInput("another device's latency is not a positive number of milliseconds", "leave that device out")
    return features, others_ms
