"""What a supernet costs beside the plain network.

    python benchmarks/supernet.py                                (some minutes on one core)
    python benchmarks/supernet.py --device cuda --bf16 --batch 256

Time: every kind of step in turn, in random order, round after round; the median and the range of each round's ratio to
the plain network's step in that round. On the CPU it is this thread's CPU time, in which other processes' turns do not
count; on a GPU it is real time until the GPU is done.

Memory: the peak of bytes in tensors that a step creates (activations,
gradients, temporaries), counted at every operator. Parameters, buffers and momentum exist before and are not counted.
Unlike the process's size this is exact, the same every time, and untouched by what else runs; scratch space inside a
kernel is not seen, but plain network and supernet call the same kernels.
"""

import argparse
import json
import weakref
from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hwnas.core.machine import cpu_name
from hwnas.core.plugins import load
from hwnas.core.seeds import derive, numpy_stream, stream
from hwnas.core.target import load_target
from hwnas.latency.fingerprint import Fingerprint
from hwnas.latency.model import LatencyModel, raw_sum, space_key
from hwnas.latency.networks import spread
from hwnas.latency.protocol import Protocol
from hwnas.latency.table import Calibration, Entry, HeldOutError, LatencyTable, MeasuredNetwork
from hwnas.operators import cost
from hwnas.spaces import Gates, Space, single_path
from hwnas.training.batch_norm import statistics_kept
from hwnas.training.compute import Device
from hwnas.training.schedule import optimizer_of
from hwnas.training.settings import Compute, Recipe

Step = Callable[[], object]
CASES = {"mobile": (32, 10, 12, 3), "mobile-224": (8, 1000, 6, 1)}
"""Space → batch, classes, rounds, steps a round."""


class Live(TorchDispatchMode):
    """Bytes of the tensors alive that were created while this is on."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known = {t.untyped_storage()._cdata for m in modules for t in (*m.parameters(), *m.buffers())}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and (key := tensor.untyped_storage()._cdata) not in self.known:
                size = tensor.untyped_storage().nbytes()
                self.known.add(key)
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(tensor.untyped_storage(), self._freed, key, size)
        return out

    def _freed(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


class Subject:
    """A network or supernet with its optimizer, and the steps that are compared."""

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor, layout: torch.memory_format, device: Device) -> None:
        self.device = device
        self.net = net.to(device.torch, memory_format=layout).train()  # type: ignore[call-overload]
        self.x, self.y = x.to(device.torch, memory_format=layout), y.to(device.torch)
        self.optimizer = optimizer_of(net, Recipe(epochs=1, learning_rate=1e-3))

    def loss(self, *gates: Gates) -> Tensor:
        with self.device.autocast():
            return nn.functional.cross_entropy(self.net(self.x, *gates), self.y)

    def train(self, *gates: Gates) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(*gates).backward()
        self.optimizer.step()

    def two_paths(self, space: Space, rng) -> None:
        """ProxylessNAS's architecture step as `strategies/proxyless.py` does it: gradients of one-hot gates alone."""
        leaves: list[Tensor] = []
        gates: dict[int, dict[int, Tensor | None]] = {}
        for choice, active in enumerate(space.reference()):
            other = rng.choice([o for o in range(len(space.choices[choice].options)) if o != active])
            pair = {active: torch.ones((), requires_grad=True), other: torch.zeros((), requires_grad=True)}
            gates[choice] = dict(pair)
            leaves += pair.values()
        with statistics_kept(self.net):
            torch.autograd.grad(self.loss(gates), leaves)

    def all_paths(self, space: Space) -> None:
        """DARTS: every option runs, weighted; weights are trained through the mixture."""
        leaves = [torch.softmax(torch.zeros(len(c.options), requires_grad=True), 0) for c in space.choices]
        self.train({choice: dict(enumerate(weights.unbind())) for choice, weights in enumerate(leaves)})


def subjects(name: str, device: Device, batch: int) -> dict[str, tuple[Subject, Step]]:
    """Kind of step → who takes it and how."""
    classes = CASES[name][1]
    plugin = load("spaces", name)
    spaces = {w: plugin(plugin.Settings(weights=w), channels=3, classes=classes) for w in ("separate", "shared")}
    x, y = torch.randn(batch, *spaces["shared"].input_shape), torch.randint(classes, (batch,))
    made = {}
    for layout, label in ((torch.channels_last, "plain"), (torch.contiguous_format, "plain, contiguous")):
        plain = Subject(spaces["shared"].build(spaces["shared"].reference()), x, y, layout, device)
        made[label] = (plain, plain.train)
    for weights, space in spaces.items():
        net = Subject(space.supernet(), x, y, torch.channels_last, device)
        rng = stream(0, "pairs")
        made[f"one path, {weights}"] = (net, partial(net.train, single_path(space.reference())))
        made[f"two paths, {weights}"] = (net, partial(net.two_paths, space, rng))
    net, _ = made["one path, separate"]
    made["all paths, separate"] = (net, partial(net.all_paths, spaces["separate"]))
    return made


def peak_bytes(subject: Subject, step: Step) -> int:
    """The step has run before, so its momentum exists."""
    subject.optimizer.zero_grad(set_to_none=True)
    with Live(subject.net) as live:
        live.known |= {
            t.untyped_storage()._cdata
            for state in subject.optimizer.state.values()
            for t in state.values()
            if isinstance(t, Tensor)
        }
        step()
    return live.peak


def now(device: Device) -> float:
    """Seconds; differences count."""
    if device.torch.type == "cuda":
        torch.cuda.synchronize()
        return perf_counter()
    return process_time()


def compare(name: str, device: Device, batch: int | None, rounds: int | None) -> list[dict[str, float | str]]:
    """One row a kind: its milliseconds, and ratios to the plain step."""
    usual_batch, _, usual_rounds, steps = CASES[name]
    made, rng = subjects(name, device, batch or usual_batch), stream(0, "order")
    for _, step in made.values():
        step()
    memory = {kind: peak_bytes(subject, step) for kind, (subject, step) in made.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in made}
    for _ in range(rounds or usual_rounds):
        for kind in rng.sample(sorted(made), len(made)):
            subject, step = made[kind]
            start = now(device)
            for _ in range(steps):
                step()
            seconds[kind].append((now(device) - start) / steps)
            subject.optimizer.zero_grad(set_to_none=True)
    rows = []
    for kind, taken in seconds.items():
        low, middle, high = np.percentile(np.array(taken) / np.array(seconds["plain"]), [10, 50, 90])
        facts = {"ms": 1e3 * float(np.median(taken)), "ratio": float(middle), "low": float(low), "high": float(high)}
        megabytes = {"memory_mb": memory[kind] / 1e6, "memory_ratio": memory[kind] / memory["plain"]}
        rows.append({"space": name, "step": kind} | facts | megabytes)
    return rows


def prediction_seconds(count: int) -> float:
    """`LatencyModel.predict_many` over random architectures of the 224-pixel space, with a table made up from MACs."""
    plugin = load("spaces", "mobile-224")
    space = plugin(plugin.Settings(), channels=3, classes=1000)
    model = LatencyModel(space, made_up_table(space))
    rng = numpy_stream(derive(0, "architectures"))
    archs = np.column_stack([rng.integers(len(choice.options), size=count) for choice in space.choices])
    start = perf_counter()
    assert (model.predict_many(archs) > 0).all()
    return perf_counter() - start


def made_up_table(space: Space) -> LatencyTable:
    def entry(ms: float) -> Entry:
        return Entry(median_ms=ms, p10_ms=ms, p90_ms=ms, samples=72, rounds=12, stable=True, measured_at="never")

    protocol = Protocol()
    table = LatencyTable(
        target=load_target("cpu"),
        fingerprint=Fingerprint(identity={}, recorded={}),
        protocol=protocol,
        protocol_sha256=protocol.digest(),
        entries={str(c.spec): entry(0.01 + cost(c.spec)[2] / 1e8) for c in space.operators()},
    )
    raw = raw_sum(space, table)
    networks = [
        MeasuredNetwork(arch=arch, median_ms=0.9 * raw.sum(arch), p90_ms=raw.sum(arch))
        for arch in spread(space, raw, 40, stream(0, "fitted"))
    ]
    error = HeldOutError(networks=0, mean=0, max=0, within_5=1, within_10=1, spearman=1, noise_floor=0)
    calibration = Calibration(fitted=networks, held_out=[], error=error, measured_at="never")
    return table.model_copy(update={"calibration": {space_key(space): calibration}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=CASES, action="append", help="default: both")
    parser.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 arithmetic")
    parser.add_argument("--batch", type=int, help="images a step; default: 32, and 8 at 224 pixels")
    parser.add_argument("--rounds", type=int, help="default: 12, and 6 at 224 pixels")
    arguments = parser.parse_args()
    device = Device(Compute(device=arguments.device, threads=1, bf16=arguments.bf16))
    torch.manual_seed(0)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{cpu_name()}, 1 thread"
    print(f"{where}, torch {torch.__version__}{', bf16' if arguments.bf16 else ''}\n")
    names = arguments.space or CASES
    rows = [row for name in names for row in compare(name, device, arguments.batch, arguments.rounds)]
    print("| space | step | ms | time ratio (p10–p90) | peak MB | memory ratio |\n|---|---|---|---|---|---|")
    for r in rows:
        print("| {space} | {step} | {ms:.1f} | {ratio:.2f} ({low:.2f}–{high:.2f}) ".format(**r), end="")
        print("| {memory_mb:.1f} | {memory_ratio:.2f} |".format(**r))
    seconds = prediction_seconds(1_000_000)
    print(f"\nLatencyModel.predict_many over 1,000,000 architectures of mobile-224: {seconds:.2f} s")
    if arguments.json:
        print(json.dumps({"device": where, "rows": rows, "predict_million_seconds": seconds}))


if __name__ == "__main__":
    main()
