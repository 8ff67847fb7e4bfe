"""The profiler: times what a table lacks for a space, calibrates, and saves. Interrupted, it goes on where it was.

Every turn of every operator goes to a journal beside the table at once, so a kill costs at most one turn.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import numpy as np
from filelock import AcquireReturnProxy, FileLock, Timeout
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.files import storage_failed
from hwnas.core.journal import Journal
from hwnas.core.progress import Progress, say, warn
from hwnas.core.seeds import stream
from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.latency.correction import features, fit
from hwnas.latency.fingerprint import Fingerprint, fingerprint
from hwnas.latency.graphs import network_graph, operator_graph
from hwnas.latency.model import held_out_error, raw_sum, space_key
from hwnas.latency.networks import spread
from hwnas.latency.protocol import Protocol
from hwnas.latency.statistics import Timing
from hwnas.latency.table import Calibration, Entry, LatencyTable, MeasuredNetwork, load_table
from hwnas.latency.timing import Measuring, Rounds
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes import Runtime
from hwnas.spaces import Space


class ProfileSettings(Settings):
    """`fitted` networks teach the correction, `held_out` ones judge it."""

    protocol: Protocol = Protocol()
    fitted: int = Field(default=40, ge=8, le=400)
    held_out: int = Field(default=16, ge=4)
    seed: int = 0


class Plan(NamedTuple):
    """What profiling would do: `seconds` of timing at least, without preparation."""

    missing: list[OpSpec]
    networks: int
    seconds: float


class Profiler:
    """Of one target. Raises Unavailable when its runtime is not here."""

    def __init__(
        self, target: Target, folder: Path = Path("latency_tables"), settings: ProfileSettings | None = None
    ) -> None:
        self.target = target
        self.settings = settings or ProfileSettings()
        self.path = folder / f"{target.name}.json"
        self.runtime: Runtime = open_runtime(target)
        self.here = fingerprint(self.runtime)
        self.spent = {"preparing": 0.0, "timing": 0.0}
        """Seconds, of this object."""

    def table(self, allow_mismatch: bool = False) -> LatencyTable:
        """The stored table, or an empty one. A local device that changed starts anew, and says so.

        Raises BadInput for a damaged table, or one measured on another device (unless `allow_mismatch`).
        """
        if not self.path.exists():
            return self._empty()
        table = load_table(self.path)
        differences = self._differences(table)
        if not differences or allow_mismatch:
            for difference in differences:
                warn(f"using {self.path} although it was measured elsewhere ({difference})")
            return table
        if self.target.device == "local":
            say(f"the machine changed since {self.path} was measured ({'; '.join(differences)}): profiling it again")
            return self._empty()
        raise BadInput(
            f"{self.path} was measured on another device ({'; '.join(differences)})",
            "profile this device under a name of its own (docs/my-device.md), or pass --allow-mismatch",
        )

    def plan(self, space: Space, table: LatencyTable) -> Plan:
        specs = {str(c.spec): c.spec for c in space.operators()}
        missing = [spec for key, spec in sorted(specs.items()) if key not in table.entries]
        calibrated = space_key(space) in table.calibration
        networks = 0 if calibrated else self.settings.fitted + 2 * self.settings.held_out
        turn_seconds = self.settings.protocol.turn_ms * self.settings.protocol.rounds / 1e3
        return Plan(missing, networks, (len(missing) + networks) * turn_seconds)

    def profile(self, space: Space, fresh: bool = False, allow_mismatch: bool = False) -> LatencyTable:
        """Time what is missing for `space`, calibrate, save, and return the table."""
        table = self._empty() if fresh else self.table(allow_mismatch)
        plan = self.plan(space, table)
        if not plan.missing and not plan.networks:
            return table
        if self._differences(table):
            raise BadInput("this table was measured elsewhere; what it lacks cannot be measured here")
        with self._lock():
            return self._fill(space, table, plan, fresh)

    def _lock(self) -> AcquireReturnProxy:
        """Released by `with`. Raises BadInput when another process profiles this target."""
        lock = FileLock(self.path.with_name(f".{self.target.name}.lock"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return lock.acquire(timeout=0)
        except Timeout as error:
            raise BadInput(f"another hwnas is profiling '{self.target.name}' now", "wait for it to end") from error
        except OSError as error:
            storage_failed(self.path, error)

    def _fill(self, space: Space, table: LatencyTable, plan: Plan, fresh: bool) -> LatencyTable:
        turns = _Turns(self.path.with_name(f".{self.target.name}.turns.jsonl"), self.here, self.settings, fresh)
        if plan.missing:
            graphs = ((str(spec), lambda s=spec: operator_graph(s)) for spec in plan.missing)
            timings, drift, stable = self._measure(f"profile {self.target.name}: operators", graphs, turns)
            now = _now()
            entries = {key: _entry(timing, stable(timing), now) for key, timing in timings.items()}
            table = table.model_copy(update={"entries": table.entries | entries, "drift": drift})
            table.save(self.path)
            if drift > self.settings.protocol.max_variation:
                warn(f"the machine became {100 * drift:.0f} % slower while it was profiled (heat, or other load)")
        if plan.networks:
            calibration = self._calibrate(space, table, turns)
            table = table.model_copy(update={"calibration": table.calibration | {space_key(space): calibration}})
            table.save(self.path)
        turns.forget()
        return table

    def _calibrate(self, space: Space, table: LatencyTable, turns: "_Turns") -> Calibration:
        raw, s = raw_sum(space, table), self.settings
        fitted = spread(space, raw, s.fitted, stream(s.seed, "fitted"))
        held_out = spread(space, raw, s.held_out, stream(s.seed, "held out"), avoid=frozenset(fitted))
        archs = fitted + held_out
        first = self._networks(space, archs, "1", turns)
        again = self._networks(space, held_out, "2", turns)
        seen = [_network(arch, first[arch], None) for arch in fitted]
        unseen = [_network(arch, first[arch], again[arch].median_ms) for arch in held_out]
        model = fit(features(raw, seen), np.array([n.median_ms for n in seen]))
        measured, repeat = (
            np.array([first[a].median_ms for a in held_out]),
            np.array([again[a].median_ms for a in held_out]),
        )
        error = held_out_error(model, features(raw, unseen), measured, repeat)
        say(
            f"latency model ({model.form}): mean error {100 * error.mean:.1f} %, largest {100 * error.max:.1f} % on "
            f"{error.networks} held-out networks; the same networks measured twice differ by "
            f"{100 * error.noise_floor:.1f} %"
        )
        return Calibration(fitted=seen, held_out=unseen, error=error, measured_at=_now())

    def _networks(self, space: Space, archs: list[Arch], attempt: str, turns: "_Turns") -> dict[Arch, Timing]:
        keys = {f"network {attempt} {space_key(space)} {','.join(map(str, arch))}": arch for arch in archs}
        graphs = ((key, lambda a=arch: network_graph(space, a)) for key, arch in keys.items())
        timings, _, _ = self._measure(f"profile {self.target.name}: whole networks", graphs, turns)
        return {arch: timings[key] for key, arch in keys.items()}

    def _measure(
        self, label: str, graphs: Iterable[tuple[str, Callable[[], bytes]]], turns: "_Turns"
    ) -> tuple[dict[str, Timing], float, Callable[[Timing], bool]]:
        graphs, start = list(graphs), monotonic()
        with Progress(f"{label}: preparing", len(graphs)) as progress:
            sessions = {}
            for key, graph in graphs:
                sessions[key] = self.runtime.load(graph())
                progress.advance()
        ready = monotonic()
        rng = stream(self.settings.seed, "order", label)
        measuring = Measuring(sessions, self.settings.protocol, rng, turns.taken, turns.record)
        try:
            return measuring.run(label), measuring.drift(), measuring.stable
        finally:
            self.spent["preparing"] += ready - start
            self.spent["timing"] += monotonic() - ready
            for session in sessions.values():
                session.close()

    def _empty(self) -> LatencyTable:
        protocol = self.settings.protocol
        return LatencyTable(
            target=self.target, fingerprint=self.here, protocol=protocol, protocol_sha256=protocol.digest()
        )

    def _differences(self, table: LatencyTable) -> list[str]:
        return self.here.differences(table.fingerprint)


class _Turns:
    """The journal of turns taken, valid for one machine and one protocol."""

    def __init__(self, path: Path, here: Fingerprint, settings: ProfileSettings, fresh: bool) -> None:
        owner = {"identity": dict(here.identity), "settings": settings.model_dump(mode="json")}
        if fresh:
            path.unlink(missing_ok=True)
        self.journal = Journal(path)
        if self.journal.records and self.journal.records[0] != {"kind": "owner", **owner}:
            path.unlink()
            self.journal = Journal(path)
        if not self.journal.records:
            self.journal.append("owner", **owner)
        self.taken: dict[str, Rounds] = defaultdict(dict)
        for record in self.journal.of("turn"):
            self.taken[record["key"]][record["round"]] = record["samples_ns"]

    def record(self, key: str, number: int, samples_ns: list[int]) -> None:
        self.journal.append("turn", key=key, round=number, samples_ns=samples_ns)

    def forget(self) -> None:
        self.journal.path.unlink(missing_ok=True)


def _entry(timing: Timing, stable: bool, now: str) -> Entry:
    return Entry(
        median_ms=timing.median_ms,
        p10_ms=timing.p10_ms,
        p90_ms=timing.p90_ms,
        samples=timing.samples,
        rounds=timing.rounds,
        stable=stable,
        measured_at=now,
    )


def _network(arch: Arch, timing: Timing, repeat_ms: float | None) -> MeasuredNetwork:
    return MeasuredNetwork(arch=arch, median_ms=timing.median_ms, p90_ms=timing.p90_ms, repeat_ms=repeat_ms)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
