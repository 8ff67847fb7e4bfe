"""Every strategy on every space it can search: an ordinary small run, to a bundle whose latency was measured.

    python benchmarks/every_pair.py --data-dir FASHION_MNIST
    python benchmarks/every_pair.py --data-dir FASHION_MNIST --spaces darts chain --strategies enas spos

`configs/every_pair.yaml` makes spaces and searches small: this shows that each pair works and keeps its budget; runs
of two minutes and one seed rank no strategy. Every run is an ordinary one (`--out`/SPACE/STRATEGY), so the command
resumes. A strategy that mixes options has no run on a space whose options cannot be mixed. A run that fails is told and
counted.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from paired import finished

from hwnas.core.errors import HwnasError
from hwnas.core.machine import cpu_name
from hwnas.core.plugins import load, names
from hwnas.run.result import Result
from hwnas.search.strategies import Relaxation

CONFIG = Path(__file__).parent / "configs" / "every_pair.yaml"
ALL_PATHS = ("darts", "fbnet", "snas")


class Pair(NamedTuple):
    space: str
    strategy: str

    @property
    def claimed(self) -> bool:
        plugin, space = load("strategies", self.strategy), load("spaces", self.space)
        return not (issubclass(plugin, Relaxation) and plugin.mixes) or space.mixable

    @property
    def kind(self) -> str:
        """Of the strategy: its section in the file."""
        plugin = load("strategies", self.strategy)
        if issubclass(plugin, Relaxation):
            return "all_paths" if self.strategy in ALL_PATHS else "one_path"
        return "shared" if plugin.estimator == "shared-weights" else "trials"


def run(pair: Pair, values: dict[str, Any], options: argparse.Namespace) -> Result:
    common, own = values["common"], values["strategies"][pair.kind]
    known = load("strategies", pair.strategy).Settings.model_fields
    flags = common | {
        "data": common["data"] | {"dir": str(options.data_dir)},
        "space": {"name": pair.space} | values["spaces"][pair.space],
        "strategy": {"name": pair.strategy} | {k: v for k, v in own["strategy"].items() if k in known},
        "search": common["search"] | own["search"],
        "budget": values["budgets"].get(pair.space, common["budget"]),
        "seed": options.seed,
    }
    return finished(flags, None, None, options.out / pair.space / pair.strategy)[1]


def cell(result: Result | str | None) -> str:
    """Accuracy, and the measured latency as a share of the budget."""
    if not isinstance(result, Result):
        return result or "–"
    assert result.accuracy is not None and result.measured_ms is not None
    return f"{100 * result.accuracy:.1f} ({result.measured_ms.median / result.budget_ms:.2f})"


def reference(results: list[Result]) -> str:
    """Its accuracy, mean over the runs; all of a space train it alike."""
    accuracies = []
    for result in results:
        assert result.reference is not None and result.reference.accuracy is not None
        accuracies.append(result.reference.accuracy)
    return f"{100 * sum(accuracies) / len(accuracies):.1f}" if accuracies else "–"


def print_table(found: dict[Pair, Result | str]) -> None:
    spaces, strategies = (list(dict.fromkeys(pair[i] for pair in found)) for i in (0, 1))
    print(f"\n| strategy | {' | '.join(spaces)} |")
    print("|---" * (len(spaces) + 1) + "|")
    for strategy in strategies:
        print(f"| {strategy} | {' | '.join(cell(found.get(Pair(space, strategy))) for space in spaces)} |")
    runs = {space: [r for p, r in found.items() if p.space == space and isinstance(r, Result)] for space in spaces}
    print(f"| *reference* | {' | '.join(reference(runs[space]) for space in spaces)} |")
    done = [result for results in runs.values() for result in results]
    kept = sum(bool(result.within_budget) for result in done)
    print(f"\n{len(done)} of {len(found)} runs ended in a bundle, {kept} within the budget as measured")
    if done:
        print(f"search, mean: {sum(r.search_seconds for r in done) / len(done):.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    values = yaml.safe_load(CONFIG.read_text())
    parser.add_argument("--data-dir", type=Path, required=True, help="Fashion-MNIST")
    parser.add_argument("--spaces", nargs="+", choices=values["spaces"], default=list(values["spaces"]))
    parser.add_argument("--strategies", nargs="+", choices=names("strategies"), default=names("strategies"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/every-pair"))
    options = parser.parse_args()
    pairs = [Pair(space, strategy) for space in options.spaces for strategy in options.strategies]
    found: dict[Pair, Result | str] = {}
    for pair in filter(lambda pair: pair.claimed, pairs):
        try:
            found[pair] = run(pair, values, options)
        except HwnasError as error:
            print(f"{pair.space}, {pair.strategy}: {error}")
            found[pair] = "failed"
    print(cpu_name())
    print_table(found)


if __name__ == "__main__":
    main()
