"""Android over adb: models are timed by the runtime's own benchmark program, between pauses for a phone that is hot."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from math import ceil
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter_ns, sleep
from typing import TypeVar

import numpy as np
from pydantic import Field

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.files import read_regular
from hwnas.core.plugins import load
from hwnas.core.progress import say, warn
from hwnas.core.target import Target
from hwnas.devices.benchmarks import BENCHMARKS
from hwnas.devices.elsewhere import Elsewhere
from hwnas.devices.phone import Failed, Gone, Phone
from hwnas.runtimes import Session

_MOST_PROGRAM_BYTES = 1 << 30
_WATCH_SECONDS = 10.0
_RETRY_SECONDS = 2.0
_MOST_NS = 600e9


class AdbOptions(Settings):
    benchmark: str = Field(min_length=1)
    """The program's file here, built for the device: `benchmark_model` for litert, `onnxruntime_perf_test`."""
    cores: str = Field(default="", pattern=r"^[0-9a-f]{0,8}$")
    """Mask of the cores to run on, for `taskset`, e.g. f0 for the large ones of eight. Empty: where Android puts it."""
    timeout_seconds: float = Field(default=180, gt=0)
    """No turn takes longer, waiting for a reboot included."""
    cool_seconds: float = Field(default=900, ge=0)
    """How long to wait for a throttling device to cool down."""
    least_battery: int = Field(default=15, ge=0, le=100)
    """Percent, when it is not powered: below it Android saves power."""


T = TypeVar("T")


class Adb(Elsewhere):
    Options = AdbOptions
    incidental = frozenset({"benchmark", "timeout_seconds", "cool_seconds", "least_battery"})

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        if target.runtime not in BENCHMARKS:
            raise BadInput(f"no benchmark program is known for {target.runtime}", f"known: {', '.join(BENCHMARKS)}")
        if target.provider or not target.threads or target.batch != 1:
            raise BadInput(f"target '{target.name}': over adb, give a number of threads, batch 1 and no provider")
        self.benchmark = BENCHMARKS[target.runtime]
        self.measures = self.benchmark.measures
        program = Path(self.options.benchmark).expanduser().resolve()
        if not program.is_file():
            raise Unavailable(f"target '{target.name}' needs the benchmark program {program}", "docs/my-device.md")
        self.program = read_regular(program, _MOST_PROGRAM_BYTES)
        self.phone = Phone(target.host.removeprefix("adb://"))
        self._watched = -_WATCH_SECONDS

    def identity(self) -> Mapping[str, str | int]:
        facts = self.patiently(self.phone.properties)
        return {
            "device": f"{facts['manufacturer']} {facts['model']} ({facts['platform']})",
            "driver": f"Android {facts['release']} {facts['id']}",
            "runtime": self.target.runtime,
            "runtime_version": f"{Path(self.options.benchmark).name} {sha256(self.program).hexdigest()[:16]}",
        }

    def state(self) -> Mapping[str, str | int | float]:
        return self.patiently(self.phone.state)

    def load(self, model: bytes) -> Session:
        return _AdbSession(self, model)

    def patiently(self, conversation: Callable[[float], T]) -> T:
        """`conversation(end)`, again while the device is away, until `timeout_seconds` are over. Raises Unavailable."""
        end = monotonic() + self.options.timeout_seconds
        while True:
            try:
                return conversation(end)
            except Gone as gone:
                self.phone.pushed.clear()  # a reboot may have emptied the folder
                if monotonic() + _RETRY_SECONDS >= end:
                    raise Unavailable(
                        f"{self.target.host} is gone: {gone}", "when it is back, run the same command again: it resumes"
                    ) from gone
                sleep(_RETRY_SECONDS)
            except Failed as failed:
                raise Unavailable(f"{self.target.host}: {failed}") from failed

    def watch(self) -> None:
        """Now and then: wait while the device throttles. Raises Unavailable when it stays hot or its battery is low."""
        if monotonic() - self._watched < _WATCH_SECONDS:
            return
        end, waiting = monotonic() + self.options.cool_seconds, False
        while True:
            state = self.state()
            self._require_battery(state)
            if state["thermal_status"] in (0, "unknown"):
                break
            if monotonic() >= end:
                raise Unavailable(
                    f"{self.target.host} keeps throttling (thermal status {state['thermal_status']})",
                    "let it cool, then run the same command again: it resumes",
                )
            if not waiting:
                say(f"{self.target.host} throttles (thermal status {state['thermal_status']}): waiting for it to cool")
            waiting = True
            sleep(min(_WATCH_SECONDS, max(0.0, end - monotonic())))
        if state["thermal_status"] == "unknown" and self._watched < 0:
            warn(f"{self.target.host} does not say whether it throttles (Android 10 and later do)")
        self._watched = monotonic()

    def _require_battery(self, state: Mapping[str, str | int | float]) -> None:
        level = state["battery_percent"]
        if isinstance(level, int) and level < self.options.least_battery and state["powered"] != "true":
            raise Unavailable(f"the battery of {self.target.host} is at {level} %", "charge it, then run this again")


class _AdbSession(Session):
    """Starts the program once a turn. How many runs fill a turn is known from the turn before."""

    def __init__(self, runtime: Adb, model: bytes) -> None:
        self._runtime, self._onnx = runtime, model
        self._content = runtime.portable(model)
        self._name = sha256(self._content).hexdigest()[:32] + runtime.benchmark.suffix
        self._last_ns = float(median(self._call(1, 1)))

    def time_ns(self) -> int:
        return self._call(1, 1)[0]

    def turn_ns(self, warmup_runs: int, least_ns: int, least_samples: int) -> list[int]:
        """The samples are what `Runtime.measures` says: not always one a run."""
        samples = self._call(warmup_runs, max(least_samples, ceil(least_ns / self._last_ns)))
        self._last_ns = float(median(samples))
        return samples

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        """By the same runtime on this machine: benchmark programs give times, not outputs."""
        here = self._runtime.target.model_copy(update={"host": "", "options": {}})
        return load("runtimes", here.runtime)(here).load(self._onnx).infer(inputs)

    def close(self) -> None:
        try:
            self._runtime.phone.remove(monotonic() + 10, self._name)
        except (Gone, Failed):
            self._runtime.phone.pushed.clear()

    def _call(self, warmup_runs: int, runs: int) -> list[int]:
        self._runtime.watch()
        return self._runtime.patiently(lambda end: self._timed(end, warmup_runs, runs))

    def _timed(self, end: float, warmup_runs: int, runs: int) -> list[int]:
        runtime, phone = self._runtime, self._runtime.phone
        program = phone.push(end, f"benchmark-{sha256(runtime.program).hexdigest()[:16]}", runtime.program, mode="755")
        model = phone.push(end, self._name, self._content)
        cores = ["taskset", runtime.options.cores] if runtime.options.cores else []
        start = perf_counter_ns()
        try:
            arguments = runtime.benchmark.arguments(model, runtime.target.threads, warmup_runs, runs)
            output = phone.shell(end, *cores, program, *arguments)
        except Failed as failed:
            raise BadInput(f"{runtime.target.host}: the benchmark program fails: {failed}") from failed
        passed_ns = perf_counter_ns() - start
        try:
            samples = [round(sample) for sample in runtime.benchmark.samples_ns(output, warmup_runs, runs)]
            if not all(0 < sample < _MOST_NS for sample in samples):
                raise ValueError("times that cannot be")
            if median(samples) * runs > passed_ns:
                raise ValueError("more time than has passed")
        except (ValueError, OverflowError) as error:
            raise Unavailable(f"{runtime.target.host} sent no valid times ({error}): refused") from error
        return samples
