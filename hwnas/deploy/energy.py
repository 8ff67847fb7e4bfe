"""Energy a run, in millijoules, where the machine has a meter: RAPL for processors, NVML for NVIDIA's GPUs.

Gross: the whole package or board, idle power and other processes included. So windows of the networks compared take
turns, and a quiet machine matters as much as for times.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter_ns

from hwnas.core.errors import Unavailable
from hwnas.core.progress import Progress
from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.runtimes import Session

_ROUNDS = 3
_WINDOW_NS = 1_000_000_000
"""RAPL counts every millisecond, NVML every 20 to 100: a second bounds the error by a few per cent."""
_POWERCAP = Path("/sys/class/powercap")


class Meter(ABC):
    """A counter of energy. `name`: what it counts."""

    name: str

    @abstractmethod
    def read(self) -> tuple[int, ...]:
        """The counters now."""

    @abstractmethod
    def spent_mj(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """Millijoules between two readings."""


class Rapl(Meter):
    """Intel's and AMD's packages, through Linux's powercap. Raises Unavailable where there are none to read."""

    def __init__(self, root: Path = _POWERCAP) -> None:
        zones = sorted(zone for zone in root.glob("*-rapl:*") if re.fullmatch(r"[a-z]+-rapl:\d+", zone.name))
        self._zones = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
        if not self._zones:
            raise Unavailable(f"no RAPL package in {root}; virtual machines and Arm have none")
        self.name = f"RAPL, {len(self._zones)} package(s), idle power included"
        try:
            self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
            self.read()
        except PermissionError as error:
            mend = f"sudo chmod a+r {root}/*/energy_uj"
            raise Unavailable(f"{self._zones[0] / 'energy_uj'} may be read by root alone", mend) from error

    def read(self) -> tuple[int, ...]:
        return tuple(int((zone / "energy_uj").read_text()) for zone in self._zones)

    def spent_mj(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """A counter that went backwards began again at 0, after its range: once at most, a window being seconds."""
        pairs = zip(before, after, self._ranges, strict=True)
        return sum(b - a if b >= a else b - a + full for a, b, full in pairs) / 1e3


class Nvml(Meter):
    """Of the GPU that CUDA sees first. Raises Unavailable without nvidia-ml-py, a driver or an energy counter."""

    def __init__(self) -> None:
        try:
            import pynvml  # pyright: ignore[reportMissingImports]  # nvidia-ml-py
        except ModuleNotFoundError as error:
            raise Unavailable("NVML needs the package nvidia-ml-py", "pip install nvidia-ml-py") from error
        self._pynvml = pynvml
        try:
            pynvml.nvmlInit()
            first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
            if first.isdigit():
                self._gpu = pynvml.nvmlDeviceGetHandleByIndex(int(first))
            else:
                self._gpu = pynvml.nvmlDeviceGetHandleByUUID(first)
            self.name = f"NVML, {pynvml.nvmlDeviceGetName(self._gpu)}, idle power included"
            self.read()
        except pynvml.NVMLError as error:
            raise Unavailable(f"NVML gives no energy: {error}; GPUs before 2017 count none") from error

    def read(self) -> tuple[int, ...]:
        return (self._pynvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu),)

    def spent_mj(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        return float(after[0] - before[0])


def meter_of(target: Target) -> Meter:
    """What counts the energy of the device that runs `target`. Raises Unavailable, saying why there is none."""
    if target.host:
        raise Unavailable("the device is elsewhere")
    if open_runtime(target).estimate:
        raise Unavailable("its times are a compiler's estimate")
    on_gpu = re.search("cuda|tensorrt", f"{target.runtime} {target.provider}", re.IGNORECASE)
    return Nvml() if on_gpu else Rapl()


def energies_mj(models: Mapping[str, bytes], target: Target) -> tuple[dict[str, float], str]:
    """`models`: name → file. Millijoules a run of each, and the meter's name; or nothing, and why there is no meter."""
    try:
        meter = meter_of(target)
    except Unavailable as error:
        return {}, f"no meter on this machine ({error.what})"
    runtime = open_runtime(target)
    sessions = {name: runtime.load(model) for name, model in models.items()}
    spent, runs = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0)
    try:
        with Progress(f"energy on {target.name}", _ROUNDS * len(sessions)) as progress:
            for _ in range(_ROUNDS):
                for name, session in sessions.items():
                    before = meter.read()
                    runs[name] += _run(session)
                    spent[name] += meter.spent_mj(before, meter.read())
                    progress.advance()
    finally:
        for session in sessions.values():
            session.close()
    return {name: spent[name] / runs[name] for name in models}, meter.name


def _run(session: Session) -> int:
    """For a window; how often that was."""
    start, count = perf_counter_ns(), 0
    while perf_counter_ns() - start < _WINDOW_NS:
        session.time_ns()
        count += 1
    return count
