"""The profiler: times what a table lacks for a space, calibrates, and saves. Interrupted, it goes on where it was.

Every turn of every operator goes to a journal beside the table at once, so a kill costs at most one turn.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from filelock import AcquireReturnProxy, FileLock, Timeout
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.files import storage_failed
from hwnas.core.progress import Progress, say, warn
from hwnas.core.seeds import stream
from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.devices.apart import Loader, fresh
from hwnas.latency.additive import Additive
from hwnas.latency.calibration import calibrate
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.graphs import network_graph, operator_graph
from hwnas.latency.model import raw_sum, space_key
from hwnas.latency.networks import fitted_and_held_out, shares
from hwnas.latency.protocol import Protocol
from hwnas.latency.sampling import sample
from hwnas.latency.statistics import Timing
from hwnas.latency.table import Calibration, Entry, LatencyTable, MeasuredNetwork, load_table
from hwnas.latency.timing import Measuring
from hwnas.latency.turns import Turns
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes import Runtime
from hwnas.spaces import Space


class ProfileSettings(Settings):
    """`fitted` networks teach the correction, `held_out` ones judge it."""

    protocol: Protocol = Protocol()
    most_operators: int | None = Field(default=None, ge=1)
    """Time at most so many of a space's operators and predict the others (`sampling.py`). None: time all, and accept
    no predicted entry."""
    tolerance: float = Field(default=0.05, gt=0)
    """With `most_operators`: fewer are timed where the prediction's mean cross-validated error is below this."""
    fitted: int = Field(default=40, ge=8, le=400)
    held_out: int = Field(default=16, ge=4)
    seed: int = 0


class Plan(NamedTuple):
    """What profiling would do: `seconds` of timing at least, without preparation.

    Of the `missing` operators at most `timed` are timed, the others predicted.
    """

    missing: list[OpSpec]
    timed: int
    networks: int
    seconds: float


class Profiler:
    """Of one target. Raises Unavailable when its runtime is not here."""

    def __init__(
        self,
        target: Target,
        folder: Path = Path("latency_tables"),
        settings: ProfileSettings | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.target = target
        self.settings = settings or ProfileSettings()
        self.path = folder / f"{target.name}.json"
        self.runtime: Runtime = runtime or open_runtime(target)
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
        s, specs = self.settings, specs_of(space)
        untimed = [spec for spec in specs if str(spec) not in table.entries or table.entries[str(spec)].predicted]
        left = len(untimed) if s.most_operators is None else s.most_operators - len(specs) + len(untimed)
        missing = untimed if left > 0 else [spec for spec in untimed if str(spec) not in table.entries]
        timed = max(0, min(left, len(missing)))
        fitted, held_out = shares(space.size(), s.fitted, s.held_out)
        networks = 0 if space_key(space) in table.calibration else fitted + 2 * held_out
        return Plan(missing, timed, networks, (timed + networks) * s.protocol.turn_ms * s.protocol.rounds / 1e3)

    def profile(self, space: Space, fresh: bool = False, allow_mismatch: bool = False) -> LatencyTable:
        """Time what is missing for `space`, calibrate, save, and return the table."""
        table = self._empty() if fresh else self.table(allow_mismatch)
        plan = self.plan(space, table)
        if not plan.missing and not plan.networks:
            return table
        if self._differences(table):
            raise BadInput("this table was measured elsewhere; what it lacks cannot be measured here")
        self._check_protocol(table)
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
        owner = {"identity": dict(self.here.identity), "settings": self.settings.model_dump(mode="json")}
        turns = Turns(self.path.with_name(f".{self.target.name}.turns.jsonl"), owner, fresh)
        if plan.missing:
            table = self._fill_operators(space, table, plan, turns)
        calibration = self._calibrate(space, table, turns)
        table = table.model_copy(update={"calibration": table.calibration | {space_key(space): calibration}})
        table.save(self.path)
        turns.forget()
        return table

    def _fill_operators(self, space: Space, table: LatencyTable, plan: Plan, turns: Turns) -> LatencyTable:
        """The table with all that the space needs: timed, or partly predicted."""
        s = self.settings
        if s.most_operators is None:
            return self._time(table, plan.missing, turns)

        def time(batch: list[OpSpec]) -> dict[str, Entry]:
            nonlocal table
            table = self._time(table, batch, turns)
            return table.entries

        entries = sample(specs_of(space), table.entries, s.most_operators, s.tolerance, time)
        return table.model_copy(update={"entries": entries})

    def _time(self, table: LatencyTable, specs: list[OpSpec], turns: Turns) -> LatencyTable:
        """The table with these operators timed, saved."""
        graphs = ((str(spec), lambda s=spec: operator_graph(s, self.runtime)) for spec in specs)
        timings, drift, unstable = self._measure(f"profile {self.target.name}: operators", graphs, turns)
        if abs(drift) > self.settings.protocol.max_variation:
            slower = f"{100 * abs(drift):.0f} % {'slower' if drift > 0 else 'faster'}"
            warn(f"the machine became {slower} while it was profiled (heat, or other load): no entry is stable")
        now = _now()
        entries = {key: _entry(timing, key not in unstable, now) for key, timing in timings.items()}
        drift = max(drift, table.drift, key=abs)
        table = table.model_copy(update={"entries": table.entries | entries, "drift": drift})
        table.save(self.path)
        return table

    def _calibrate(self, space: Space, table: LatencyTable, turns: Turns) -> Calibration:
        """By networks measured now, or, where only operators were added, by those measured before."""
        if stored := table.calibration.get(space_key(space)):
            return calibrate(space, table, stored.fitted, stored.held_out, whole=self.runtime.estimate)
        raw = raw_sum(space, table)
        fitted, held_out = self._choose(space, raw)
        archs = fitted + held_out
        first = self._networks(space, archs, "1", turns)
        again = self._networks(space, held_out, "2", turns)
        seen = [_network(arch, first[arch], None) for arch in fitted]
        unseen = [_network(arch, first[arch], again[arch].median_ms) for arch in held_out]
        return calibrate(space, table, seen, unseen, whole=self.runtime.estimate)

    def _choose(self, space: Space, raw: Additive) -> tuple[list[Arch], list[Arch]]:
        """The networks that teach the correction, and those that judge it."""
        s = self.settings
        return fitted_and_held_out(space, raw, s.fitted, s.held_out, s.seed)

    def _networks(self, space: Space, archs: list[Arch], attempt: str, turns: Turns) -> dict[Arch, Timing]:
        keys = {network_key(space, arch, attempt): arch for arch in archs}
        graphs = ((key, lambda a=arch: network_graph(space, a, self.runtime)) for key, arch in keys.items())
        timings, _, _ = self._measure(f"profile {self.target.name}: whole networks", graphs, turns)
        return {arch: timings[key] for key, arch in keys.items()}

    def _measure(
        self, label: str, graphs: Iterable[tuple[str, Callable[[], bytes]]], turns: Turns
    ) -> tuple[dict[str, Timing], float, set[str]]:
        with fresh(self.runtime) as runtime:
            return self._measure_by(runtime, label, list(graphs), turns)

    def _measure_by(
        self, runtime: Loader, label: str, graphs: list[tuple[str, Callable[[], bytes]]], turns: Turns
    ) -> tuple[dict[str, Timing], float, set[str]]:
        start = monotonic()
        with Progress(f"{label}: preparing", len(graphs)) as progress:
            sessions = {}
            for key, graph in graphs:
                sessions[key] = runtime.load(graph())
                progress.advance()
        ready = monotonic()
        rng = stream(self.settings.seed, "order", label)
        measuring = Measuring(sessions, self.settings.protocol, rng, turns.taken, turns.record)
        try:
            return measuring.run(label), measuring.drift(), set(measuring.unstable())
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

    def _check_protocol(self, table: LatencyTable) -> None:
        """Raises BadInput when what is added would be timed otherwise than what is there."""
        mine, theirs = self.settings.protocol, table.protocol
        if not (table.entries or table.calibration) or theirs == mine:
            return
        there = {} if theirs is None else theirs.model_dump()
        changed = {key: value for key, value in there.items() if value != getattr(mine, key)}
        asked = ", ".join(f"{key} {value} there, {getattr(mine, key)} asked" for key, value in changed.items())
        keep = "".join(f" --set profile.protocol.{key}={value}" for key, value in changed.items())
        raise BadInput(
            f"{self.path} was timed by another protocol ({asked or 'unknown'}); the two do not belong into one table",
            f"keep to the table's:{keep}; or time everything again: hwnas profile --target {self.target.name} --fresh",
        )

    def _differences(self, table: LatencyTable) -> list[str]:
        return self.here.differences(table.fingerprint)


def specs_of(space: Space) -> list[OpSpec]:
    """Each once, by its key."""
    return [spec for _, spec in sorted({str(c.spec): c.spec for c in space.operators()}.items())]


def network_key(space: Space, arch: Arch, attempt: str) -> str:
    """Names a whole network among the turns; held-out networks are timed in two attempts."""
    return f"network {attempt} {space_key(space)} {','.join(map(str, arch))}"


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
