"""The measuring core: many graphs, timed in turns, in random order, over several rounds."""

from collections.abc import Callable, Mapping
from random import Random

import numpy as np

from hwnas.core.progress import Progress
from hwnas.latency.protocol import Protocol
from hwnas.latency.statistics import Timing, summarise, trend
from hwnas.runtimes import Session

Rounds = dict[int, list[int]]
"""Round number → samples in ns."""

_SETTLE_NS = 200_000_000
_MOST_WINDOWS = 100


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
        self._medians_ns = {(n, key): float(np.median(s)) for key in sessions for n, s in self.rounds[key].items()}
        self._order = sorted(self._medians_ns)
        """Turns as they were taken, as far as known: an earlier run's by their rounds, then this one's."""
        self._earlier = len(self._order)

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
                unstable = self.unstable()
                if not unstable:
                    break
                progress.total += len(unstable)
                self._round(number, unstable, progress)
        return self.timings()

    def timings(self) -> dict[str, Timing]:
        return {key: summarise(list(rounds.values())) for key, rounds in self.rounds.items()}

    def unstable(self) -> list[str]:
        """The graphs of which another run may find another median. All, while the machine itself drifts: what were
        timed longer than the others would also be timed hotter."""
        limit = self.protocol.max_variation
        if abs(self.drift()) > limit:
            return list(self.sessions)
        return [key for key, timing in self.timings().items() if timing.uncertainty > limit]

    def drift(self) -> float:
        """How much slower the machine became while it was timed: 0.2 = 20 %; negative: faster; 0: chance explains it.

        Every turn is compared with the other turns of its graph. Between an interrupted run and this one the machine
        may have cooled, so that the turns of each are judged alone as well; the largest of the three is told.
        """
        own = {
            key: np.median([self._medians_ns[n, key] for n in rounds]) for key, rounds in self.rounds.items() if rounds
        }
        logs = [float(np.log(self._medians_ns[turn] / own[turn[1]])) for turn in self._order]
        return max((trend(part) for part in (logs, logs[: self._earlier], logs[self._earlier :])), key=abs)

    def _round(self, number: int, keys: list[str], progress: Progress) -> None:
        order = [key for key in keys if number not in self.rounds[key]]
        self.rng.shuffle(order)
        for key in order:
            samples = self._turn(self.sessions[key])
            self.record(key, number, samples)
            self.rounds[key][number] = samples
            self._medians_ns[number, key] = float(np.median(samples))
            self._order.append((number, key))
            progress.advance()

    def _turn(self, session: Session) -> list[int]:
        protocol = self.protocol
        return session.turn_ns(protocol.warmup_runs, int(protocol.turn_ms * 1e6), protocol.min_samples)

    def _settle(self) -> None:
        """Run for 200 ms of the device's time, and until two windows agree: clocks and caches are then as they stay."""
        session, spent_ns, window_ns = self.sessions[min(self.sessions)], 0, 0.0
        for _ in range(_MOST_WINDOWS):
            samples = self._turn(session)
            before_ns, window_ns = window_ns, float(np.median(samples))
            spent_ns += sum(samples)
            if spent_ns > _SETTLE_NS and abs(window_ns - before_ns) <= self.protocol.max_variation * window_ns:
                return
