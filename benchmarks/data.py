"""What data on disk costs: listing a folder of many files, and images a second from a folder and from tar shards.

    python benchmarks/data.py --files 1000000 --images 2000

The files of the listing are empty. The images are made up, of ImageNet's average size: 470 × 390 pixels, about 110 kB.
They come to 224 × 224 through one worker process, from the file system's cache. Processor time is told beside the
clock's, because a busy machine leaves it as it is.
"""

import argparse
import io
import os
import resource
import tarfile
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from hwnas.core.machine import cpu_name
from hwnas.training.datasets._files import Files, index_of
from hwnas.training.datasets._index import index_file
from hwnas.training.datasets._shard_index import index_shards
from hwnas.training.datasets._shards import Shards
from hwnas.training.datasets._source import Source
from hwnas.training.loading import Loading

CLASSES = 1000
PIXELS = 224
SHARD = 250


def picture(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 29, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((470, 390), Image.Resampling.BICUBIC))
    noisy = np.clip(smooth + rng.normal(0, 20, (390, 470, 3)), 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(noisy).save(content, "JPEG", quality=90)
    return content.getvalue()


def listing(folder: Path, files: int) -> None:
    names = tuple(f"n{number:08d}" for number in range(CLASSES))
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(files // CLASSES):
            (folder / name / f"{name}_{number:08d}.JPEG").touch()
        os.utime(folder / name, (1e9, 1e9))
    for again in (False, True):
        start, before = perf_counter(), _peak_mb()
        index = index_of(folder, names)
        seconds, size = perf_counter() - start, len(index.names) + index.ends.nbytes + index.labels.nbytes
        how, memory = "from the index" if again else "listed", _peak_mb() - before
        each = size / len(index)
        print(f"{len(index):,} files {how} in {seconds:.1f} s, peak +{memory:.0f} MB, {each:.0f} bytes a file")
    print(f"the index file has {index_file(folder, 'files-1.npz').stat().st_size / 1e6:.0f} MB")


def reading(folder: Path, images: int) -> None:
    pictures = [picture(seed) for seed in range(min(images, 100))]
    print(f"\nimages of {np.mean([len(p) for p in pictures]) / 1e3:.0f} kB")
    names = ("a", "b")
    for number in range(images):
        path = folder / "files" / names[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[number % len(pictures)])
    for first in range(0, images, SHARD):
        with tarfile.open(folder / f"train-{first:06d}.tar", "w") as tar:
            for number in range(first, min(first + SHARD, images)):
                for ending, content in (("jpg", pictures[number % len(pictures)]), ("cls", str(number % 2).encode())):
                    member = tarfile.TarInfo(f"{number:08d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    shards = index_shards(folder, sorted(folder.glob("*.tar")), "cls")
    sources: dict[str, Source] = {
        "a folder": Files.of(folder / "files", names, PIXELS),
        "tar shards": Shards(shards, ("0", "1"), "cls", PIXELS, 8192),
    }
    for name, source in sources.items():
        start, before = perf_counter(), _worked_seconds()
        chunks = Loading(1, False).chunks(source.shuffled(torch.Generator()))
        count = sum(len(chunk.labels) for chunk in chunks)
        a_second, each_ms = count / (perf_counter() - start), 1e3 * (_worked_seconds() - before) / count
        print(f"{name}: {a_second:,.0f} images/s a worker process, {each_ms:.1f} ms of a processor each")


def _worked_seconds() -> float:
    """Of processor time, by worker processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    print(cpu_name())
    with tempfile.TemporaryDirectory(prefix="hwnas-data-") as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        listing(Path(name) / "many", options.files)
        reading(Path(name) / "images", options.images)


if __name__ == "__main__":
    main()
