"""Can this machine run and measure, and what would make its measurements better? Each check is one function.

A check that fails says what to do. Only the essential ones decide the verdict: many a good machine is virtual, and its
governor is somebody else's.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from platform import python_version
from time import perf_counter_ns
from typing import Any

from packaging.requirements import Requirement

from hwnas.core import system
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.machine import cores
from hwnas.core.plugins import catalogue
from hwnas.core.target import load_target
from hwnas.deploy.energy import meter_of
from hwnas.devices import open_runtime

_ROOT = Path("/")
_DEFAULT_TARGET = "cpu"
_GIB = 1 << 30
_GAP_NS = 50_000
"""A loop that does nothing else is not held up for so long unless something else has the core."""


@dataclass(frozen=True)
class Finding:
    """`ok` None: cannot be known here. `mend`: what to do where it is not well."""

    name: str
    ok: bool | None
    detail: str
    mend: str = ""
    essential: bool = False


@dataclass(frozen=True)
class Health:
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.essential and not finding.ok]

    def facts(self) -> dict[str, Any]:
        return {"ok": not self.failed, "checks": [asdict(finding) for finding in self.findings]}

    def text(self) -> str:
        lines = []
        for f in self.findings:
            state = "ok" if f.ok else "unknown" if f.ok is None else "FAILED" if f.essential else "note"
            lines.append(f"{state:<8}{f.name}: {f.detail}")
            if f.ok is False and f.mend:
                lines.append(f"{'':<8}  mend: {f.mend}")
        return "\n".join(lines)

    def raise_for_failure(self) -> None:
        """Raises Unavailable when the default target cannot run here."""
        if self.failed:
            what = "; ".join(f"{finding.name} ({finding.detail})" for finding in self.failed)
            raise Unavailable(f"hwnas cannot run here: {what}", self.failed[0].mend)


def examine() -> Health:
    """Takes about half a second."""
    return Health(tuple(finding for check in CHECKS for finding in check()))


def default_target() -> Iterator[Finding]:
    try:
        identity = open_runtime(load_target(_DEFAULT_TARGET)).identity()
    except (Unavailable, BadInput) as error:
        yield Finding("default target", False, error.what, error.mend, essential=True)
        return
    yield Finding("default target", True, ", ".join(map(str, identity.values())), essential=True)


def packages(installed: Callable[[str], str] = version) -> Iterator[Finding]:
    """Of hwnas's own requirements, those that are missing or outside their range."""
    wrong = []
    for line in requires("hwnas") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            try:
                found = installed(requirement.name)
            except PackageNotFoundError:
                found = ""
            if not found or not requirement.specifier.contains(found, prereleases=True):
                wrong.append(f"{requirement.name} {found or 'missing'}, needs {requirement.specifier}")
    mend = "pip install --upgrade hwnas, in an environment of its own (constraints.txt: versions that work together)"
    yield Finding("packages", not wrong, "; ".join(wrong) or _versions(), mend, essential=True)


def clocks(root: Path = _ROOT) -> Iterator[Finding]:
    governor, turbo = system.governor(root), system.turbo(root)
    steady = None if governor is None else governor == "performance"
    yield Finding("governor", steady, governor or "not visible here", "sudo cpupower frequency-set -g performance")
    off = "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo, or 0 into cpufreq/boost on AMD"
    told = {True: "on: clocks depend on heat", False: "off", None: "not visible here"}[turbo]
    yield Finding("turbo", None if turbo is None else not turbo, told, off)
    source = system.clock_source(root)
    good = None if source is None else source in ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page")
    mend = "boot with clocksource=tsc: other sources cost microseconds a reading"
    yield Finding("clock source", good, source or "not visible here", mend)


def heat(root: Path = _ROOT) -> Iterator[Finding]:
    count = system.throttled(root)
    told = "not visible here" if count is None else f"throttled {count} times since the machine started"
    yield Finding("heat", None if count is None else count == 0, told, "cool it, or profile with pauses")


def load(root: Path = _ROOT, gaps_ns: Callable[[], list[int]] | None = None) -> Iterator[Finding]:
    one_minute = system.load_1min(root)
    told = "not visible here" if one_minute is None else f"{one_minute:.2f} over the last minute, on {cores()} core(s)"
    quiet = None if one_minute is None else one_minute < 0.5 * cores()
    yield Finding("load", quiet, told, "end other work while profiling")
    gaps = (gaps_ns or _spin)()
    stolen = sum(gap for gap in gaps if gap > _GAP_NS) / max(1, sum(gaps))
    told = f"{100 * stolen:.1f} % of a short spin was lost to something else"
    yield Finding(
        "other work on this core", stolen < 0.02, told, "end other work, or pin hwnas to a free core: taskset"
    )


def resolution(gaps_ns: Callable[[], list[int]] | None = None) -> Iterator[Finding]:
    step = min((gap for gap in (gaps_ns or _spin)() if gap > 0), default=0)
    yield Finding("timer", 0 < step <= 1000, f"steps of {step} ns", "see the clock source")


def room(root: Path = _ROOT, folder: Path = Path()) -> Iterator[Finding]:
    limit = system.cpu_limit(root)
    told = "no limit" if limit is None else f"a control group grants {limit:g} cores' time"
    mend = "give the container whole cores (docker: --cpuset-cpus), no share of time: throttling falls into the timings"
    yield Finding("control group", limit is None, told, mend)
    memory = system.memory_available_bytes(root)
    told = "not visible here" if memory is None else f"{memory / _GIB:.1f} GiB available"
    yield Finding("memory", None if memory is None else memory >= 2 * _GIB, told, "free 2 GiB: training needs them")
    free = shutil.disk_usage(folder).free
    yield Finding("disk", free >= _GIB, f"{free / _GIB:.1f} GiB free in this folder", "free 1 GiB, or work elsewhere")


def runtimes() -> Iterator[Finding]:
    for plugin in catalogue("runtimes"):
        told = "available" if plugin.available else "not installed"
        yield Finding(f"runtime {plugin.name}", plugin.available, told, plugin.needs or "")


def reach(which: Callable[[str], str | None] = shutil.which) -> Iterator[Finding]:
    for program, package in (("ssh", "openssh-client"), ("adb", "adb")):
        path = which(program)
        yield Finding(
            program, path is not None, path or "not on the PATH", f"apt install {package}, for remote devices"
        )


def energy() -> Iterator[Finding]:
    try:
        yield Finding("energy meter", True, meter_of(load_target(_DEFAULT_TARGET)).name)
    except (Unavailable, BadInput) as error:
        yield Finding("energy meter", False, error.what, error.mend)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    *(default_target, packages, clocks, heat, load, resolution, room, runtimes, reach, energy),
)


def _versions() -> str:
    found = {"Python": python_version()} | {name: version(name) for name in ("torch", "onnx", "onnxruntime")}
    return ", ".join(f"{name} {number}" for name, number in found.items())


def _spin() -> list[int]:
    """Gaps between the readings of the clock in a loop that does nothing else, for 0.2 s."""
    gaps, start = [], perf_counter_ns()
    now = start
    while now - start < 200_000_000:
        before, now = now, perf_counter_ns()
        gaps.append(now - before)
    return gaps
