"""Searched recurrent cells on Penn Treebank beside LSTM and GRU of as many parameters, trained by the same steps.

    python benchmarks/ptb.py --data-dir DIR --out runs/ptb --seeds 2 [--jobs 16]

Every strategy searches on the first words of the training text for about as long (`SEARCHES`), under the same latency
budget; what it finds, the space's reference and the two gated cells then train by one recipe on `data.limit` words.
LSTM and GRU are the widest with no more parameters than the largest searched cell. Interrupted, it goes on; every
network is a job of its own. At the end all networks are timed together on the target, interleaved, and the table is
printed. The test text is read once a network, when nothing is left to choose.

    python benchmarks/ptb.py --data-dir DIR --latency      # only the hand-made and the published cells, timed
"""

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from hwnas.core.arch import Arch
from hwnas.core.budget import parse_budget
from hwnas.core.config import validate
from hwnas.core.files import write_atomic
from hwnas.core.plugins import load
from hwnas.core.progress import be_quiet
from hwnas.core.seeds import derive
from hwnas.deploy.measure import measure
from hwnas.devices import open_runtime
from hwnas.latency.graphs import network_graph
from hwnas.latency.model import LatencyModel
from hwnas.run.config import RunConfig, overrides, resolve
from hwnas.run.problem import data_of, latency_of, space_of
from hwnas.run.stages import Run
from hwnas.spaces import Space
from hwnas.spaces.rnn_cell import DARTS_1, DARTS_2
from hwnas.training.compute import Device
from hwnas.training.network import accuracy, perplexity, train

SEARCHES: dict[str, tuple[str, ...]] = {
    "random": ("strategy.trials=12", "search.epochs=12"),
    "regularized-evolution": ("strategy.trials=12", "search.epochs=12", "strategy.population=4", "strategy.sample=2"),
    "nas-rl": ("strategy.trials=12", "search.epochs=12"),
    "nao": ("strategy.trials=12", "search.epochs=12", "strategy.batch=4", "strategy.parents=4"),
    "enas": ("search.epochs=10", "strategy.reward=80"),
    "darts": ("search.epochs=3",),
}
"""What makes each take about two minutes of a core."""
SEARCH_WORDS = 50_000
_CONFIG = Path(__file__).with_name("configs") / "ptb.yaml"


@dataclass(frozen=True)
class Job:
    """One network of one seed: a strategy's, or a named one. `width`: of a gated cell."""

    name: str
    seed: int
    width: int | None = None


def main() -> None:
    options = _options()
    be_quiet(True)
    config = _config(options, 0)
    space = space_of(config, 0, data_of(config).classes)
    model = latency_of(config, space)  # profiled once, while nothing else runs
    widths = {kind: _widest(kind, space, config) for kind in ("lstm", "gru")}
    if options.latency:
        print(_known_cells(config, model, widths))
        return
    named = [Job(kind, seed, width) for kind, width in widths.items() for seed in range(options.seeds)]
    named += [Job("reference", 0)]  # one seed: it sets the budget; the gated cells are what is compared with
    jobs = named + [Job(strategy, seed) for seed in range(options.seeds) for strategy in options.strategies]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_work, options, job) for job in jobs]):
            print(json.dumps(done.result()), flush=True)
    print(_table(options, jobs))


def _work(options: argparse.Namespace, job: Job) -> dict[str, Any]:
    """Search, train, test: the facts of a network, written down once."""
    be_quiet(True)
    file = options.out / f"{job.name}-{job.seed}.json"
    if file.exists():
        return json.loads(file.read_text())
    config, start = _config(options, job.seed), perf_counter()
    arch, budget = _found(options, job)
    searched = perf_counter()
    data, device = data_of(config), Device(config.compute)
    space = _space(config, job, data.classes)
    torch.manual_seed(derive(job.seed, "network", job.name) % 2**63)
    path, seed = options.out / "checkpoints" / f"{job.name}-{job.seed}.safetensors", derive(job.seed, "train")
    module = train(space.build(arch), data.train, config.training, device, seed, f"train {job.name}", path)
    trained, test = perf_counter(), data.open_test()
    facts = {
        "name": job.name,
        "seed": job.seed,
        "arch": list(arch),
        "cell": " ".join(space.describe(arch).values()),
        "params": space.params(arch),
        "budget_ms": budget,
        "valid": perplexity(module, data.search.plain(), device),
        "test": perplexity(module, test.plain(), device),
        "accuracy": accuracy(module, test.plain(), device),
        "search_seconds": searched - start,
        "train_seconds": trained - searched,
    }
    write_atomic(file, json.dumps(facts))
    return facts


def _found(options: argparse.Namespace, job: Job) -> tuple[Arch, float | None]:
    """The architecture, and the budget in ms where it was searched for."""
    config = _config(options, job.seed)
    if job.name not in SEARCHES:
        space = _space(config, job, 2)
        return space.reference(), None
    config = _config(options, job.seed, f"data.limit={SEARCH_WORDS}", *SEARCHES[job.name], strategy=job.name)
    with Run(config, options.out / f"search-{job.name}-{job.seed}") as run:
        return run.search().candidates[0].arch, run.problem.budget_ms


def _space(config: RunConfig, job: Job, words: int) -> Space:
    return space_of(config, 0, words) if job.width is None else _gated(job.name, config, job.width, words)


def _gated(kind: str, config: RunConfig, width: int, words: int) -> Space:
    plugin = load("spaces", kind)
    own = {key: value for key, value in config.space.own().items() if key in plugin.Settings.model_fields}
    settings = validate(plugin.Settings, own | {"hidden": width, "widths": [width]}, "space")
    return plugin(settings, channels=0, classes=words)


def _widest(kind: str, space: Any, config: RunConfig) -> int:
    """With no more parameters than the largest cell within the budget can have: its reference, cut."""
    most = max(space.params(arch) for arch in _largest(space, config))
    width = 1
    while _gated(kind, config, width + 1, space.classes).params((0,)) <= most:
        width += 1
    return width


def _largest(space: Any, config: RunConfig) -> list[Arch]:
    """The reference with each number of nodes that fits the budget."""
    latency = latency_of(config, space)
    budget_ms = parse_budget(config.budget).resolve_ms(latency.predict(space.reference()))
    return [arch for arch in _with_each_count(space) if latency.predict_p95(arch) <= budget_ms]


def _with_each_count(space: Any) -> list[Arch]:
    """The reference with each number of nodes."""
    return [(count, *space.reference()[1:]) for count in range(len(space.settings.nodes))]


def _table(options: argparse.Namespace, jobs: Sequence[Job]) -> str:
    """Timed together; a row a network."""
    config = _config(options, 0)
    words, runtime = data_of(config).classes, open_runtime(config.target)
    found = [(job, json.loads((options.out / f"{job.name}-{job.seed}.json").read_text())) for job in jobs]
    graphs = {
        f"{job.name}-{job.seed}": network_graph(_space(config, job, words), tuple(facts["arch"]), runtime)
        for job, facts in found
    }
    timed = measure(graphs, config.target, derive(0, "ptb"))
    budget_ms = parse_budget(config.budget).resolve_ms(timed["reference-0"].median)
    lines = [f"budget {config.budget} of the reference = {budget_ms:.4f} ms a word", ""]
    lines += ["| network | seed | test perplexity | next word right | ms a word | budget | parameters | search, s |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for job, facts in sorted(found, key=lambda pair: list(dict.fromkeys(j.name for j in jobs)).index(pair[0].name)):
        ms = timed[f"{job.name}-{job.seed}"].median
        kept = ("met" if ms <= budget_ms else "MISSED") if job.name in SEARCHES else "-"
        lines.append(
            f"| {job.name} | {job.seed} | {facts['test']:.1f} | {100 * facts['accuracy']:.2f} % | {ms:.4f} | {kept} "
            f"| {facts['params']:,} | {facts['search_seconds']:.0f} |"
        )
    return "\n".join(lines)


def _known_cells(config: RunConfig, model: LatencyModel, widths: dict[str, int]) -> str:
    """Untrained: weights do not matter to latency. Predicted and measured, interleaved."""
    space: Any = model.space
    cells = {f"highway, {space.count(arch)} nodes": arch for arch in _with_each_count(space)}
    cells |= {"DARTS, first order": space.arch(DARTS_1), "DARTS, second order": space.arch(DARTS_2)}
    networks: dict[str, tuple[Space, Arch]] = {name: (space, arch) for name, arch in cells.items()}
    networks |= {f"{k}, width {w}": (_gated(k, config, w, space.classes), (0,)) for k, w in widths.items()}
    runtime = open_runtime(config.target)
    graphs = {name: network_graph(*network, runtime) for name, network in networks.items()}
    timed = measure(graphs, config.target, derive(0, "ptb"))
    error = model.calibration.error
    lines = [f"held-out networks: mean error {100 * error.mean:.1f} %, noise floor {100 * error.noise_floor:.1f} %", ""]
    lines += ["| cell | parameters | predicted ms | measured ms |", "|---|---|---|---|"]
    for name, (of, arch) in networks.items():
        predicted = f"{model.predict(arch):.4f}" if of is space else "-"
        lines.append(f"| {name} | {of.params(arch):,} | {predicted} | {timed[name].median:.4f} |")
    return "\n".join(lines)


def _config(options: argparse.Namespace, seed: int, *sets: str, strategy: str = "random") -> RunConfig:
    flags = overrides(data_dir=options.data_dir, seed=seed, strategy=strategy)
    return resolve(flags, options.config, (*options.set, *sets))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/ptb"))
    parser.add_argument("--config", type=Path, default=_CONFIG)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--strategies", type=lambda text: text.split(","), default=list(SEARCHES))
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return options


if __name__ == "__main__":
    main()
