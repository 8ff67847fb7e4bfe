"""How well shared weights rank networks, by how the paths of a weight step are drawn: uniform, fair, sandwich.

    HWNAS_DATA=DIR python benchmarks/ranking.py --data-dir CIFAR10 --seeds 3
    HWNAS_DATA=DIR python benchmarks/ranking.py --data-dir CIFAR10 --seeds 1 --device cuda --width 16 --cells 5 \\
        --images 50000 --batch 256 --epochs 50

Supernets of NAS-Bench-201's space on CIFAR-10 (the first command: reduced, the second: the published network), half of
the images for the weights, all trained with equally many passes: where an update takes m paths, an epoch takes a random
m-th of the images. Then random cells, the same for every method of a seed, are judged with the weights they inherit, on
some images of the search split. τ is Kendall's, to the published test accuracy; best ten: the mean published accuracy
of the ten that were judged best. Differences are paired by seed. DIR/nb201 holds the table.

What was done is in `--out`, so that the same command goes on, also with more seeds or more cells.
"""

import argparse
from pathlib import Path

import numpy as np
from nasbench201 import print_header, tests
from weight_sharing import Method

from hwnas.compare.paired import mean_of, paired
from hwnas.core.errors import HwnasError
from hwnas.training.data import open_data

METHODS = ("spos", "spos-fair", "spos-sandwich")
PLAIN = {"search_fraction": 0.5, "published": False, "budget": None, "threads": 1, "bf16": False}


def rank(options: argparse.Namespace) -> list[Method]:
    done = []
    for seed in range(options.seeds):
        own = {"dir": options.data_dir, "search_fraction": PLAIN["search_fraction"], "limit": options.images}
        data = open_data("cifar10", own, 32, seed)
        for name in options.methods:
            facts = {k: v for k, v in vars(options).items() if k != "seeds"} | PLAIN | {"seed": seed}
            method = Method(name, data, argparse.Namespace(**facts))
            method.rank()
            done.append(method)
    return done


def best_ten(method: Method, truth: np.ndarray) -> float:
    cells = sorted(method.cells(), key=lambda cell: -cell["accuracy"])
    return float(truth[[cell["index"] for cell in cells[:10]]].mean())


def print_results(methods: list[Method]) -> None:
    truth = tests("c10")
    found = {name: {} for name in dict.fromkeys(method.name for method in methods)}
    for method in methods:
        found[method.name][method.options.seed] = method.tau(truth), best_ten(method, truth)
    print_header("method", "seeds", "τ (90 % interval)", "− uniform", "best ten, %", "− uniform")
    uniform = next(iter(found.values()))
    for name, seeds in found.items():
        cells = []
        for measure, decimals in ((0, 3), (1, 2)):
            mine, theirs = ({seed: both[measure] for seed, both in of.items()} for of in (seeds, uniform))
            mean, difference = mean_of(list(mine.values())), paired(mine, theirs)
            assert mean is not None and difference is not None
            cells += [mean.text(decimals), "" if seeds is uniform else difference.text(decimals, "+")]
        print(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")
    drawn = np.mean([truth[[cell["index"] for cell in method.cells()]].mean() for method in methods])
    print(f"\nten drawn at random from the cells ranked: {drawn:.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="CIFAR-10, binary or python version")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="the first is compared with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--cells", type=int, default=1, help="a stage")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--ranked", type=int, default=300, help="cells for Kendall's τ")
    parser.add_argument("--judged", type=int, default=500, help="images that judge each of them")
    parser.add_argument("--out", type=Path, default=Path("runs/ranking"))
    options = parser.parse_args()
    print_results(rank(options))


if __name__ == "__main__":
    try:
        main()
    except HwnasError as error:
        raise SystemExit(str(error)) from error
