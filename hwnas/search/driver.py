"""Runs a relaxation to its end, writing every decision to the journal; started again, it goes on from there."""

from collections.abc import Callable
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal
from hwnas.core.progress import say
from hwnas.search.collapse import PATIENCE, CollapseWatch, collapsing_since
from hwnas.search.estimators import Means
from hwnas.search.problem import Problem
from hwnas.search.strategies import Relaxation
from hwnas.search.trial import SearchResult, Trial, shortlist
from hwnas.spaces import Gates
from hwnas.training.supernet import LossOf, SharedWeights

REFUNDS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""See `candidates`."""
PER_REFUND = 3


def relax(strategy: Relaxation, means: Means, problem: Problem, journal: Journal) -> SearchResult:
    """Train supernet and distribution together, project onto the budget, compare the best on the search split."""
    if strategy.mixes and not problem.space.mixable:
        names = (type(part).__name__.lower() for part in (strategy, problem.space))
        raise BadInput("{} mixes options, which space {} does not allow".format(*names), "--strategy spos or random")
    weights = SharedWeights(means.space, means.data, means.recipe, means.device, means.seed, means.loss)
    companion = _Journaled(strategy, problem, journal)
    weights.train(companion, means.checkpoints / "supernet.safetensors", "search: supernet epochs")
    scores = strategy.scores()
    if journal.last("scores") is None:
        journal.append("scores", log_probabilities=[choice.tolist() for choice in scores])
    archs = dict.fromkeys([*candidates(problem, scores), *strategy.drawn()])
    done = {record.arch: record for record in map(Trial.of, journal.of("trial"))}
    trials = [done[a] if a in done else _judge(problem, a, weights.accuracy, journal, "trial") for a in archs]
    best_first = shortlist(trials, means.data.search.standard_error)
    return SearchResult(trials, best_first, history=list(journal.of("epoch")), epochs=means.recipe.epochs)


def candidates(problem: Problem, scores: list[np.ndarray]) -> list[Arch]:
    """Exact projections of a learned distribution onto the budget, to be compared on the search split.

    The scores (log-probabilities) hold the latency term's push, which the hard constraint makes superfluous: an
    undecided distribution whose E[latency] meets the budget has its mode far below it. So the projection is repeated
    with the latency refunded, score + r · ms, in growing steps: from the plain mode to networks that fill the budget.
    """
    costs = problem.costs
    slopes = [np.ptp(s) / np.ptp(c) for s, c in zip(scores, costs, strict=True) if np.ptp(c) > 0]
    unit = float(np.median(slopes)) if slopes else 0.0
    found: dict[Arch, None] = {}
    for refund in REFUNDS:
        shifted = [s + refund * unit * c for s, c in zip(scores, costs, strict=True)]
        found |= dict.fromkeys(problem.project(shifted, PER_REFUND))
    # Where latency is no sum, all that the sum proposes may turn out too slow.
    return list(found) or [problem.cheapest]


def _judge(problem: Problem, arch: Arch, accuracy: Callable[[Arch], float], journal: Journal, kind: str) -> Trial:
    start = monotonic()
    trial = problem.trial(arch, accuracy(arch))
    journal.append(kind, **trial.facts(), spent_seconds=monotonic() - start)
    return trial


class _Journaled:
    """A relaxation as the companion of supernet training, its epochs written to the journal once."""

    def __init__(self, strategy: Relaxation, problem: Problem, journal: Journal) -> None:
        self.strategy, self.journal, self.watch = strategy, journal, CollapseWatch(problem)

    def gates(self, generator: torch.Generator) -> Gates:
        return self.strategy.gates(generator)

    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        self.strategy.update(loss_of, progress, generator)

    def epoch_done(self, epoch: int) -> None:
        # An epoch that was journaled but killed before its checkpoint is trained again, to the same numbers.
        if self.journal.last("epoch", epoch=epoch) is not None:
            return
        self.journal.append("epoch", epoch=epoch, **self.strategy.facts(), **self.watch.facts(self.strategy.scores()))
        since = collapsing_since(list(self.journal.of("epoch")))
        if since is not None and epoch == since + PATIENCE - 1:
            say(
                f"the search is collapsing: since epoch {since + 1} it prefers options without parameters nearly "
                "everywhere, and not for the budget's sake; --strategy spos judges networks by themselves"
            )

    def state(self) -> dict[str, Tensor]:
        return self.strategy.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.strategy.load_state(state)
