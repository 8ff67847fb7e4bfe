"""A kit's results.json, read as what it is: a file that anybody may have written."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.files import read_regular
from hwnas.core.target import Target
from hwnas.devices.elsewhere import Identity, Nanoseconds, State, Text, check_identity, fault_of_turn
from hwnas.devices.process import printable
from hwnas.devices.recorded import Recorded
from hwnas.latency.additive import Additive
from hwnas.latency.kit import Graph, graphs_of, networks_to_time, plan_of
from hwnas.latency.profiler import Profiler, ProfileSettings
from hwnas.latency.protocol import Protocol
from hwnas.latency.statistics import Timing
from hwnas.latency.table import LatencyTable
from hwnas.latency.timing import Measuring, Rounds
from hwnas.runtimes import Session
from hwnas.spaces import Space

_MOST_BYTES = 256 << 20
_MOST_ROUNDS = 10_000


class Results(BaseModel):
    """`turns`: (number of the graph in the plan, round, samples in ns)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    format: Literal[1]
    target: Text
    plan_sha256: Text
    identity: Identity
    state: State
    turns: list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0, lt=_MOST_ROUNDS)], list[Nanoseconds]]]
    sha256: Text


class KitProfiler(Profiler):
    """Builds a target's table from the results of its kit, as a profile builds one from turns taken now.

    Raises BadInput for results that are damaged, of another kit, incomplete or impossible.
    """

    def __init__(
        self,
        file: Path,
        space: Space,
        target: Target,
        settings: ProfileSettings,
        folder: Path = Path("latency_tables"),
    ) -> None:
        results, graphs = read_results(file), graphs_of(space, settings)
        if results.plan_sha256 != hashlib.sha256(plan_of(graphs, space, target, settings)).hexdigest():
            raise BadInput(
                f"{file} holds the results of another kit: of the target '{results.target}', with other settings, or "
                "packed by another hwnas",
                "give --target, --space, --config and --set as `hwnas profile --pack` had them",
            )
        self.rounds = _rounds(results, graphs, settings.protocol, file)
        try:
            check_identity(results.identity, target)
        except Unavailable as error:
            raise BadInput(f"{file} is refused: {error.what}") from error
        super().__init__(target, folder, settings, Recorded(target, results.identity, results.state))
        if target.device == "local":
            _require_this_machine(self, file)

    def profile(self, space: Space, fresh: bool = False, allow_mismatch: bool = False) -> LatencyTable:
        """Raises BadInput when the table lacks nothing, so that results are never passed over in silence."""
        plan = self.plan(space, self._empty() if fresh else self.table(allow_mismatch))
        if not plan.missing and not plan.networks:
            raise BadInput(f"{self.path} holds all of this device already", "to measure it anew, add --fresh")
        return super().profile(space, fresh, allow_mismatch)

    def _choose(self, space: Space, raw: Additive) -> tuple[list[Arch], list[Arch]]:
        return networks_to_time(space, self.settings)

    def _measure(
        self, label: str, graphs: Iterable[tuple[str, Callable[[], bytes]]], turns: Any
    ) -> tuple[dict[str, Timing], float, set[str]]:
        taken = {key: self.rounds[key] for key, _ in graphs}
        nothing_to_time = cast("dict[str, Session]", dict.fromkeys(taken))
        measuring = Measuring(nothing_to_time, self.settings.protocol, Random(0), taken)
        return measuring.timings(), measuring.drift(), set(measuring.unstable())


def read_results(file: Path) -> Results:
    """Raises BadInput when the file is missing, too large, torn, altered, or no results of a kit."""
    again = "bring results.json again, or run `python worker.py` once more: it goes on where it was"
    content = read_regular(file, _MOST_BYTES)
    try:
        results = Results.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{file} holds no results of a kit: {printable(where)}: {first['msg']}", again) from error
    plain = json.loads(content)
    stored = plain.pop("sha256")
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(text.encode()).hexdigest() != stored:
        raise BadInput(f"{file} was altered after the kit wrote it (its sha256 differs)", again)
    return results


def _rounds(results: Results, graphs: list[Graph], protocol: Protocol, file: Path) -> dict[str, Rounds]:
    """Each graph's samples by round: as many as the protocol wants, each once. Raises BadInput."""
    found: dict[str, Rounds] = {graph.key: {} for graph in graphs}
    for number, round_, samples_ns in results.turns:
        if number >= len(graphs) or round_ in found[graphs[number].key]:
            raise BadInput(f"{file} is refused: its turn of graph {number}, round {round_} is there twice, or unasked")
        fault = fault_of_turn(samples_ns, int(protocol.turn_ms * 1e6), protocol.min_samples)
        if fault:
            raise BadInput(f"{file} is refused: graph {number}, round {round_}: {fault}")
        found[graphs[number].key][round_] = samples_ns
    for key, rounds in found.items():
        most = protocol.rounds + protocol.extra_rounds
        if not protocol.rounds <= len(rounds) <= most or sorted(rounds) != list(range(len(rounds))):
            raise BadInput(
                f"{file} is refused: {key} was timed in {len(rounds)} rounds, not {protocol.rounds} to {most}"
            )
    return found


def _require_this_machine(profiler: Profiler, file: Path) -> None:
    """A target such as `cpu` means this machine, whichever it is; another one needs a name."""
    differences = profiler.here.differences(Profiler(profiler.target).here)
    if differences:
        raise BadInput(
            f"{file} comes from another device than this ({'; '.join(differences)})",
            f"pack for a profile with `device: named` (docs/my-device.md); '{profiler.target.name}' is this machine",
        )
