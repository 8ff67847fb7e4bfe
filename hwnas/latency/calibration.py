"""From measured networks to the form of the model that suits the target, and how wrong it is on networks unseen."""

from datetime import UTC, datetime

import numpy as np

from hwnas.core.progress import say
from hwnas.latency.correction import correction
from hwnas.latency.error import held_out_error
from hwnas.latency.learned import cross_validated, is_better, learn
from hwnas.latency.model import raw_sum
from hwnas.latency.table import Calibration, Form, HeldOutError, LatencyTable, MeasuredNetwork
from hwnas.spaces import Space

_FEWEST = 24
"""Networks below which nothing is learned beyond the sum: eight folds would hold three each."""


def calibrate(
    space: Space, table: LatencyTable, fitted: list[MeasuredNetwork], held_out: list[MeasuredNetwork], whole: bool
) -> Calibration:
    """`held_out` networks were measured twice. `whole`: the target prices whole networks itself, in milliseconds."""
    raw = raw_sum(space, table)
    archs, measured_ms = [n.arch for n in fitted], np.array([n.median_ms for n in fitted])
    unseen, unseen_ms = np.array([n.arch for n in held_out]), np.array([n.median_ms for n in held_out])
    repeat_ms = np.array([n.repeat_ms for n in held_out], dtype=np.float64)
    by_sum_ms = correction(raw, archs, measured_ms).corrected(raw).sum_many(unseen)
    of_sum = held_out_error(by_sum_ms, unseen_ms, repeat_ms)
    form: Form = "sum"
    error, stand_in = of_sum, None
    if whole:
        form, error, stand_in = "whole", held_out_error(repeat_ms, unseen_ms, repeat_ms), of_sum
    elif len(fitted) >= _FEWEST and is_better(*cross_validated(raw, archs, measured_ms)):
        by_neighbours_ms = learn(raw, archs, measured_ms).predict_many(unseen)
        form, error, stand_in = "neighbours", held_out_error(by_neighbours_ms, unseen_ms, repeat_ms), of_sum
    say(_verdict(form, error, stand_in))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Calibration(form=form, fitted=fitted, held_out=held_out, error=error, stand_in=stand_in, measured_at=now)


def _verdict(form: Form, error: HeldOutError, stand_in: HeldOutError | None) -> str:
    floor = f"the same networks measured twice differ by {100 * error.noise_floor:.1f} %"
    if form == "whole":
        assert stand_in is not None
        return f"the target prices whole networks itself; the sum of its operators is {100 * stand_in.mean:.1f} % off"
    found = (
        f"latency model ({form}): mean error {100 * error.mean:.1f} %, largest {100 * error.max:.1f} % on "
        f"{error.networks} held-out networks; {floor}"
    )
    return found if stand_in is None else f"{found}; by the sum alone {100 * stand_in.mean:.1f} %"
