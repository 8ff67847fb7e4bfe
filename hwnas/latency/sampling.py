"""Which operators of a space to time when not all of them are: a spread first, then those predicted worst."""

from collections.abc import Callable, Mapping, Sequence
from math import inf

import numpy as np

from hwnas.core.errors import BadInput
from hwnas.core.progress import say
from hwnas.latency.table import Entry
from hwnas.latency.unmeasured import LEAST, Regressors, family, logs
from hwnas.operators.opspec import OpSpec

Entries = Mapping[str, Entry]
_BATCH = 8


def sample(
    specs: Sequence[OpSpec], entries: Entries, most: int, tolerance: float, time: Callable[[list[OpSpec]], Entries]
) -> dict[str, Entry]:
    """Entries for all of `specs`, at most `most` of them timed. `time`: a batch → all entries, the batch's among them.

    The batches follow from the entries alone, so that an interrupted profile goes on with the same ones. Raises
    BadInput where `most` is too few to predict the rest.
    """
    while batch := next_batch(specs, entries, most, tolerance):
        entries = time(batch)
    rest, regressors = _untimed(specs, entries), Regressors(entries)
    predicted = regressors.entries_of(rest)
    if rest:
        error = 100 * regressors.error(rest)
        say(f"{len(specs) - len(rest)} operators timed, {len(rest)} predicted (error of those left out: {error:.1f} %)")
    return dict(entries) | predicted


def next_batch(specs: Sequence[OpSpec], entries: Entries, most: int, tolerance: float) -> list[OpSpec]:
    """Empty when `most` are timed, or the cross-validated error of the rest is within `tolerance`.

    First a spread over each family; then the widest intervals, one of an input shape, since neighbours teach the same.
    Raises BadInput as `sample` does.
    """
    rest = _untimed(specs, entries)
    left = most - (len(specs) - len(rest))
    families = dict.fromkeys(map(family, specs))
    first = [spec for one in families for spec in _spread([s for s in specs if family(s) == one], rest)]
    if len(first) > left:
        raise BadInput(
            f"{most} operators are too few to predict the others from: it takes {LEAST} of each sort, or all there are",
            f"--set profile.most_operators={most - left + len(first)} or more",
        )
    if first or not rest or not left:
        return first
    regressors = Regressors(entries)
    width = {spec: inf if regressors.refusal(spec) else regressors.predict([spec])[str(spec)].factor for spec in rest}
    if max(width.values()) < inf and regressors.error(rest) <= tolerance:
        return []
    widest: dict[tuple[int, ...], OpSpec] = {}
    for spec in sorted(rest, key=lambda spec: (-width[spec], str(spec))):
        widest.setdefault(spec.input_shape, spec)
    return list(widest.values())[: min(_BATCH, left)]


def _untimed(specs: Sequence[OpSpec], entries: Entries) -> list[OpSpec]:
    return [spec for spec in specs if str(spec) not in entries or entries[str(spec)].predicted]


def _spread(own: list[OpSpec], rest: list[OpSpec]) -> list[OpSpec]:
    """Of one family: what is to be timed so that `LEAST` are, each the farthest from those before."""
    x = np.array([list(logs(spec).values()) for spec in own])
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)
    chosen = [i for i, spec in enumerate(own) if spec not in rest]
    start = len(chosen)
    while len(chosen) < min(LEAST, len(own)):
        others = x[chosen] if chosen else np.zeros((1, x.shape[1]))  # the first: farthest from the middle
        distance = np.linalg.norm(x[:, None] - others, axis=-1).min(1)
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return [own[i] for i in chosen[start:]]
