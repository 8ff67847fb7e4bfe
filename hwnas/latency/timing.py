"""The measuring core: many graphs, timed in turns, in random order, over several rounds."""

from collections.abc import Callable, Mapping
from random import Random
from time import perf_counter_ns

import numpy as np

from hwnas.core.progress import Progress
from hwnas.latency.protocol import Protocol
from hwnas.latency.statistics import Timing, summarise
from hwnas.runtimes import Session

Rounds = dict[int, list[int]]
"""Round number → samples in ns."""

_CANARIES = 3
_SETTLE_NS = 200_000_000


class Measuring:
    """Turns already taken (`taken`, from an interrupted run) are not taken again; `record` sees each new one."""

    def __init__(
        self,
        sessions: Mapping[str, Session],
        protocol: Protocol,
        rng: Random,
        taken: Mapping[str, Rounds] | None = None,
        record: Callable[[str, int, list[int]], None] = lambda key, number, samples_ns: None,
    ) -> None:
        self.sessions, self.protocol, self.rng, self.record = sessions, protocol, rng, record
        self.rounds: dict[str, Rounds] = {key: dict((taken or {}).get(key, {})) for key in sessions}
        keys = sorted(sessions)
        self._canaries = keys[:: max(1, len(keys) // _CANARIES)][:_CANARIES]
        self._canary_ns: dict[str, list[float]] = {key: [] for key in self._canaries}

    def run(self, label: str) -> dict[str, Timing]:
        """Time everything; the median, percentiles and variation of each graph."""
        if not self.sessions:
            return {}
        self._settle()
        total = len(self.sessions) * self.protocol.rounds
        with Progress(label, total, done=sum(len(r) for r in self.rounds.values())) as progress:
            for number in range(self.protocol.rounds):
                self._round(number, list(self.sessions), progress)
            for number in range(self.protocol.rounds, self.protocol.rounds + self.protocol.extra_rounds):
                unstable = [key for key, timing in self.timings().items() if not self.stable(timing)]
                if not unstable:
                    break
                progress.total += len(unstable)
                self._round(number, unstable, progress)
        return self.timings()

    def timings(self) -> dict[str, Timing]:
        return {key: summarise(list(rounds.values())) for key, rounds in self.rounds.items()}

    def stable(self, timing: Timing) -> bool:
        return timing.variation <= self.protocol.max_variation

    def drift(self) -> float:
        """How much slower the canaries were in the last third of the run than in the first: 0.2 = 20 % slower.

        0 when an earlier run took all turns, and this one had nothing left to time.
        """
        ratios = []
        for samples in filter(None, self._canary_ns.values()):
            third = max(1, len(samples) // 3)
            ratios.append(np.median(samples[-third:]) / np.median(samples[:third]))
        return float(np.median(ratios)) - 1 if ratios else 0.0

    def _round(self, number: int, keys: list[str], progress: Progress) -> None:
        order = [key for key in keys if number not in self.rounds[key]]
        self.rng.shuffle(order)
        for position, key in enumerate(order):
            if position % max(1, len(order) // 2) == 0:
                for canary in self._canaries:
                    self._canary_ns[canary].append(float(np.median(self._turn(self.sessions[canary]))))
            samples = self._turn(self.sessions[key])
            self.record(key, number, samples)
            self.rounds[key][number] = samples
            progress.advance()

    def _turn(self, session: Session) -> list[int]:
        protocol = self.protocol
        return session.turn_ns(protocol.warmup_runs, int(protocol.turn_ms * 1e6), protocol.min_samples)

    def _settle(self) -> None:
        """Run for 200 ms, and until two windows agree, so that clocks and caches are as they will be."""
        session = self.sessions[self._canaries[0]]
        start, windows = perf_counter_ns(), [0.0]
        for _ in range(100):
            windows.append(float(np.median([session.time_ns() for _ in range(5)] + self._turn(session))))
            agree = abs(windows[-1] - windows[-2]) <= self.protocol.max_variation * windows[-1]
            if perf_counter_ns() - start > _SETTLE_NS and agree:
                return
