"""A simulated device: its true latencies are known, its time is virtual, its noise and its faults come from a seed.

A runtime like any other (`runtime: …/hwnas/testing/simulated.py` in a profile), so that a whole profile, or a search,
can be judged against the truth. `SimulatedSession` alone serves the measuring core.
"""

from collections.abc import Mapping
from math import exp, prod
from random import Random

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx.reference import ReferenceEvaluator
from pydantic import Field

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.seeds import stream
from hwnas.core.target import Target
from hwnas.runtimes import Runtime, Session

_NODE_NS, _ELEMENT_NS = 800.0, 0.4
_DENSE_MAC_NS, _GROUPED_MAC_NS = 0.02, 0.08
_SPIKE = (2.0, 20.0)


class Faults(Settings):
    """What stands between a run's true time and the time seen. The defaults are a calm machine's."""

    noise: float = Field(default=0.05, ge=0)
    """Standard deviation of log(seen / true); the median is true."""
    spikes: float = Field(default=0.01, ge=0, le=1)
    """Share of runs that take 2 to 20 times as long."""
    ramp: float = 0.0
    """How much slower everything has become after `ramp_seconds` of the device's time: 0.2 = 20 %; and stays so."""
    ramp_seconds: float = Field(default=1.0, gt=0)
    seed: int = 0


class SimulatedDevice:
    """The virtual clock that all sessions of one device share: running is all that makes it go."""

    def __init__(self, faults: Faults) -> None:
        self.faults, self.now_ns = faults, 0
        self._rng: Random = stream(faults.seed, "simulated device")

    def slowdown(self) -> float:
        """By how much it is slower now than when it was cool: 1.1 = 10 %."""
        return 1 + self.faults.ramp * min(1.0, self.now_ns / (1e9 * self.faults.ramp_seconds))

    def run_ns(self, true_ns: float) -> int:
        """Spend the time of one run, and return it."""
        seen = true_ns * self.slowdown() * exp(self._rng.gauss(0, self.faults.noise))
        if self._rng.random() < self.faults.spikes:
            seen *= self._rng.uniform(*_SPIKE)
        self.now_ns += int(seen)
        return int(seen)


class SimulatedSession(Session):
    """A graph that truly takes `true_ns`; it computes only when it was made of a `model`."""

    def __init__(self, device: SimulatedDevice, true_ns: float, model: onnx.ModelProto | None = None) -> None:
        self.device, self.true_ns, self.model = device, true_ns, model

    def time_ns(self) -> int:
        return self.device.run_ns(self.true_ns)

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        assert self.model is not None, "this session has no network to compute"
        (output,) = ReferenceEvaluator(self.model).run(None, {self.model.graph.input[0].name: inputs})  # type: ignore
        return np.asarray(output, dtype=np.float32)


class Simulated(Runtime):
    measures = "virtual nanoseconds of a simulated device, by the cost law of its nodes"
    Options = Faults

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.simulated = SimulatedDevice(self.options)

    def identity(self) -> Mapping[str, str | int]:
        return {"device": "simulated", "driver": "none", "runtime": "simulated", "runtime_version": "1"}

    def load(self, model: bytes) -> SimulatedSession:
        try:
            parsed = onnx.load_from_string(model)
            onnx.checker.check_model(parsed)
        except (DecodeError, onnx.checker.ValidationError) as error:
            raise BadInput(f"the simulated device refuses the model: {str(error)[:300]}") from error
        return SimulatedSession(self.simulated, true_ns(parsed, self.target.batch), parsed)


def true_ns(model: onnx.ModelProto, batch: int = 1) -> float:
    """The cost law: each node pays a call, the elements it writes and its multiply-accumulates (more when grouped)."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    weights = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    shapes = {
        value.name: [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    total = 0.0
    for node in graph.node:
        elements, macs_ns = prod(shapes[node.output[0]]), 0.0
        if node.op_type in ("Conv", "Gemm"):
            inner = prod(weights[node.input[1]][1:])  # of [out, in / groups, k, k] or [out, in]
            grouped = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
            macs_ns = elements * inner * (_GROUPED_MAC_NS if grouped else _DENSE_MAC_NS)
        total += _NODE_NS + elements * _ELEMENT_NS + macs_ns
    return total
