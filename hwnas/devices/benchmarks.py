"""The runtimes' own benchmark programs on Android: how each is called, and what its output says.

Formats: TensorFlow's `benchmark_model` (lite/tools/benchmark: benchmark_model.cc, core/util/stats_calculator.h) and
ONNX Runtime's `onnxruntime_perf_test -v` (test/perftest/performance_runner.h).
"""

import re
from abc import ABC, abstractmethod

_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"


class Benchmark(ABC):
    """`measures`: what one sample is. `suffix`: of the model's file."""

    measures: str
    suffix: str

    @abstractmethod
    def arguments(self, model: str, threads: int, warmup_runs: int, runs: int) -> list[str]: ...

    @abstractmethod
    def samples_ns(self, output: str, warmup_runs: int, runs: int) -> list[float]:
        """Raises ValueError when the output is not that of such a call."""


class BenchmarkModel(Benchmark):
    """It prints no single runs, so a sample is a whole call's median, or its mean in builds that print no median."""

    measures = (
        "the median run of one call of TensorFlow Lite's benchmark_model with XNNPACK; p10 and p90 are of those medians"
    )
    suffix = ".tflite"
    _stats = re.compile(
        rf"count=(\d+) first={_NUMBER} curr={_NUMBER} min={_NUMBER} max={_NUMBER} avg={_NUMBER} std={_NUMBER}"
        rf"(?: p5={_NUMBER} median={_NUMBER} p95={_NUMBER})?\s*$",
        re.MULTILINE,
    )
    _summary = re.compile(rf"Inference timings in us: .*Inference \(avg\): {_NUMBER}\s*$", re.MULTILINE)

    def arguments(self, model: str, threads: int, warmup_runs: int, runs: int) -> list[str]:
        least = ["--warmup_min_secs=0", "--min_secs=0.000001"]  # the numbers of runs decide, not seconds
        counts = [f"--num_threads={threads}", f"--warmup_runs={warmup_runs}", f"--num_runs={runs}"]
        return [f"--graph={model}", "--use_xnnpack=true", *counts, *least]

    def samples_ns(self, output: str, warmup_runs: int, runs: int) -> list[float]:
        calls, summaries = self._stats.findall(output), self._summary.findall(output)
        if not calls or len(summaries) != 1:
            raise ValueError("no timings in its output")
        count, _, _, least, most, mean, _, _, median, _ = calls[-1]  # the warm-up's come before
        value = float(median or mean)
        if int(count) < runs:
            raise ValueError(f"{count} runs instead of {runs}")
        # Six digits are printed of a mean.
        if (
            not float(least) * 0.9999 <= value <= float(most) * 1.0001
            or abs(float(summaries[0]) / float(mean) - 1) > 1e-4
        ):
            raise ValueError("its figures contradict one another")
        return [1e3 * value]


class PerfTest(Benchmark):
    measures = "one run in ONNX Runtime's onnxruntime_perf_test, input and output in its own buffers"
    suffix = ".onnx"
    _run = re.compile(rf"^iteration:(\d+),time_cost:{_NUMBER}\s*$", re.MULTILINE)

    def arguments(self, model: str, threads: int, warmup_runs: int, runs: int) -> list[str]:
        return ["-I", "-v", "-m", "times", "-r", str(warmup_runs + runs), "-x", str(threads), "-e", "cpu", model]

    def samples_ns(self, output: str, warmup_runs: int, runs: int) -> list[float]:
        found = self._run.findall(output)
        if [int(number) for number, _ in found] != list(range(1, warmup_runs + runs + 1)):
            raise ValueError(f"{len(found)} runs instead of {warmup_runs + runs}")
        return [1e9 * float(seconds) for _, seconds in found[warmup_runs:]]


BENCHMARKS: dict[str, Benchmark] = {"litert": BenchmarkModel(), "onnxruntime": PerfTest()}
