"""What a search at ImageNet's size would take, put together from measured pieces. None of these searches was run.

    python benchmarks/cost_model.py
    python benchmarks/cost_model.py --image-ms 0.8 --price 3      (a step of your own GPU; its price an hour)

Every number that goes in is printed, with where it was measured or that it is an assumption: docs/scaling.md says more.
A GPU of your own: `python benchmarks/supernet.py --device cuda --bf16 --batch 256` times the plain step of mobile-224;
divided by 256 that is `--image-ms`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

TRAINING_IMAGES, JUDGED_IMAGES = 1_281_167, 50_000
"""ImageNet's (ILSVRC 2012); the second is held out of the first to guide the search."""
MS_AN_HOUR = 3.6e6


@dataclass(frozen=True)
class Piece:
    """`low` to `high`, where measurements differ."""

    name: str
    low: float
    high: float
    source: str

    def __str__(self) -> str:
        span = f"{self.low:.4g}" if self.low == self.high else f"{self.low:.4g} to {self.high:.4g}"
        return f"  {self.name:<58}{span:<16}{self.source}"


HELD_MB = Piece("activations of one image, plain step of mobile-224, MB", 115.9, 115.9, "supernet.md: 926.8 / 8")
MS_A_GB = Piece("H100: ms a GB of activations, forward and backward", 10.0, 12.5, "gpu.md: 153 / (2 · 7.64), 95 / 7.63")
TWO_PATHS = Piece("weight and architecture step over the weight step", 2.0, 2.9, "supernet.md (CPU), gpu.md (87 / 30)")
ALL_PATHS = Piece("the same, all paths", 8.4, 12.7, "supernet.md: 2 · 4.20 in memory, 2 · 6.36 in time")
LAUNCH_MS = Piece("H100: least time of a single-path step, ms", 30, 30, "gpu.md: Python's launches")
FORWARD = Piece("a forward pass over a training step", 1 / 3, 1 / 3, "assumed")
DECODE_MS = Piece("reading and decoding an image, ms of one core", 3.3, 3.4, "data.md: folder, tar shards")
PIECES = (HELD_MB, MS_A_GB, TWO_PATHS, ALL_PATHS, LAUNCH_MS, FORWARD, DECODE_MS)


@dataclass(frozen=True)
class Work:
    """`steps`: images trained on, as plain steps, low and high; `judged`: images seen forward only."""

    name: str
    how: str
    low: float
    high: float
    judged: float = 0.0

    def gpu_hours(self, image_ms: tuple[float, float]) -> tuple[float, float]:
        forward = FORWARD.low * self.judged
        return image_ms[0] * (self.low + forward) / MS_AN_HOUR, image_ms[1] * (self.high + forward) / MS_AN_HOUR


def works() -> list[Work]:
    """Epochs and candidates as the authors chose them."""
    seen = TRAINING_IMAGES - JUDGED_IMAGES
    candidates = 1000 * (JUDGED_IMAGES + 20_000)
    two, full = 120 * seen, 150 * TRAINING_IMAGES
    return [
        Work("spos", "120 epochs of single paths; 1,000 candidates judged", 120 * seen, 120 * seen, candidates),
        Work(
            "proxyless",
            "40 epochs of warm-up, 120 of two paths",
            40 * seen + two * TWO_PATHS.low,
            40 * seen + two * TWO_PATHS.high,
        ),
        Work("darts", "50 epochs of all paths", 50 * seen * ALL_PATHS.low, 50 * seen * ALL_PATHS.high),
        Work("random", "10 networks, 150 epochs each", 10 * full, 10 * full),
        Work("after any search", "3 networks compared, 150 epochs each", 3 * full, 3 * full),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-ms", type=float, help="of one image in a plain training step, in place of the H100's")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--gpus", type=int, default=1, help="for the hours by the clock, at full efficiency")
    parser.add_argument("--price", type=float, help="of a GPU-hour, in your money")
    options = parser.parse_args()
    print("pieces")
    print("\n".join(map(str, PIECES)))
    low, high = (options.image_ms or HELD_MB.low / 1e3 * rate for rate in (MS_A_GB.low, MS_A_GB.high))
    least = LAUNCH_MS.low / options.batch
    image_ms = max(low, least), max(high, least)
    a_second = [1e3 / ms for ms in image_ms]  # from many to few
    print(f"\none image in a plain step: {_span(image_ms, 0, 2)} ms, {_span(a_second[::-1], 0)} images/s")
    cores = a_second[0] * DECODE_MS.high / 1e3
    print(f"one GPU takes {cores:.0f} cores to decode for while it trains, {cores / FORWARD.low:.0f} while it judges\n")
    price = "" if options.price is None else f"{'price':>16}"
    print(f"{'search':<18}{'what is trained':<54}{'GPU-hours':>14}{'days on ' + str(options.gpus):>14}{price}")
    for work in works():
        hours = work.gpu_hours(image_ms)
        days = [h / 24 / options.gpus for h in hours]
        cost = "" if options.price is None else _span([h * options.price for h in hours], 16)
        print(f"{work.name:<18}{work.how:<54}{_span(hours, 14)}{_span(days, 14, 1)}{cost}")


def _span(values: Sequence[float], width: int, digits: int = 0) -> str:
    low, high = (f"{value:,.{digits}f}" for value in values)
    return f"{low if low == high else f'{low}–{high}':>{width}}"


if __name__ == "__main__":
    main()
