"""Small data sets in the published file formats."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]
"""Part → (images, labels)."""


def write_idx(path: Path, array: np.ndarray) -> None:
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape) + array.tobytes())


def write_fashion_mnist(folder: Path, count: int = 40) -> Arrays:
    rng = np.random.default_rng(0)
    written: Arrays = {}
    for part in ("train", "t10k"):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
        written[part] = images, labels
    return written


BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def cifar10_arrays(count: int = 20) -> Arrays:
    """[count, 3072] pixels and labels of every batch."""
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 256, (count, 3072), dtype=np.uint8) for name in BATCHES}
    return {name: (image, np.arange(count, dtype=np.uint8) % 10) for name, image in pixels.items()}


def write_cifar10_binary(folder: Path) -> Arrays:
    arrays = cifar10_arrays()
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pixels, labels) in arrays.items():
        (folder / f"{name}.bin").write_bytes(np.column_stack([labels, pixels]).tobytes())
    return arrays


def write_cifar10_python(folder: Path, protocol: int = 2) -> Arrays:
    """As published: pickles of protocol 2, numpy arrays, keys and names that are bytes when read as bytes."""
    arrays = cifar10_arrays()
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pixels, labels) in arrays.items():
        batch = {
            b"batch_label": b"training batch",
            b"labels": labels.tolist(),
            b"data": pixels,
            b"filenames": [b"image.png"] * len(labels),
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    return arrays


def write_image(path: Path, size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(path)


def write_imagefolder(folder: Path, test: str = "val") -> None:
    """Two classes; odd sizes, grey, palette and transparent images."""
    for part in ("train", test):
        for label, name in enumerate(("ant", "bee")):
            write_image(folder / part / name / "wide.jpg", (41, 17), seed=label)
            write_image(folder / part / name / "tall.png", (9, 31), seed=label + 2)
            write_image(folder / part / name / "grey.png", (16, 16), "L", seed=label + 4)
            write_image(folder / part / name / "palette.png", (20, 18), "P", seed=label + 6)
            write_image(folder / part / name / "clear.PNG", (20, 18), "RGBA", seed=label + 8)


def write_shard(path: Path, samples: list[tuple[str, dict[str, bytes]]]) -> None:
    """`samples`: (key, content by ending)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, parts in samples:
            for ending, content in parts.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def picture(seed: int, size: tuple[int, int] = (24, 20)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_shards(folder: Path, train: int = 8, each: int = 20, classes: int = 4, test: int = 2) -> None:
    """Classes in turn; the image of sample n is that of seed n, of the test samples of 100,000 + n."""
    for part, shards, first in (("train", train, 0), ("test", test, 100_000)):
        for shard in range(shards):
            numbers = range(first + shard * each, first + (shard + 1) * each)
            samples = [
                (f"{n:06d}", {"png": picture(n), "cls": str(n % classes).encode(), "json": b"{}"}) for n in numbers
            ]
            write_shard(folder / f"{part}-{shard:04d}.tar", samples)


def write_text(folder: Path, words: int = 30, lines: int = 60) -> None:
    """train, valid and test of sentences in which a word mostly decides the next."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 4 * lines), ("valid", lines), ("test", lines)):
        text = []
        for _ in range(count):
            sentence = [int(rng.integers(words))]
            while len(sentence) < 8:
                sentence.append((3 * sentence[-1] + int(rng.integers(2))) % words)
            text.append(" ".join(f"w{number}" for number in sentence))
        if part == "train":
            text.append(" ".join(f"w{number}" for number in range(words)))
        (folder / f"{part}.txt").write_text("\n".join(text) + "\n")
