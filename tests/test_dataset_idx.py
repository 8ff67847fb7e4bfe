"""Fashion-MNIST's idx.gz files, and what is said when one is torn."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import write_fashion_mnist, write_idx

from hwnas.core.errors import BadInput
from hwnas.training.datasets.fashion_mnist import FashionMnist, FashionMnistSettings, read_idx


def load(folder: Path):
    return FashionMnist(FashionMnistSettings(dir=folder)).load(28)


def test_images_and_labels_are_read(tmp_path: Path) -> None:
    written = write_fashion_mnist(tmp_path)
    raw = load(tmp_path)
    assert np.array_equal(raw.train.pixels[:, 0], written["train"][0])
    assert np.array_equal(raw.test.labels, written["t10k"][1])
    assert raw.class_names[0] == "T-shirt/top" and raw.flip


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(BadInput, match=r"t10k-labels-idx1-ubyte\.gz is missing"):
        load(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.floats(0, 0.999), flip=st.integers(0, 10_000), unzipped=st.booleans())
def test_torn_and_altered_files_never_give_a_traceback(tmp_path: Path, keep: float, flip: int, unzipped: bool) -> None:
    """Cut anywhere, with any byte changed, inside or outside the compression: BadInput, or the images as they were."""
    path = tmp_path / "images.gz"
    images = np.arange(4 * 5 * 5, dtype=np.uint8).reshape(4, 5, 5)
    write_idx(path, images)
    content = bytearray(gzip.decompress(path.read_bytes()) if unzipped else path.read_bytes())
    content[flip % len(content)] ^= 0xFF
    for damaged in (bytes(content), bytes(content[: int(keep * len(content))])):
        path.write_bytes(gzip.compress(damaged) if unzipped else damaged)
        try:
            read_idx(path)
        except BadInput as error:
            assert str(path) in error.what


def test_images_and_labels_of_different_sets_are_refused(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(3, np.uint8))
    with pytest.raises(BadInput, match="do not belong together"):
        load(tmp_path)


def test_an_unknown_label_and_no_labels_are_refused(tmp_path: Path) -> None:
    written = write_fashion_mnist(tmp_path)
    for images, labels in (
        (written["train"][0], np.full(len(written["train"][0]), 11, np.uint8)),
        (written["train"][0][:0], np.zeros(0, np.uint8)),
    ):
        write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
        with pytest.raises(BadInput):
            load(tmp_path)


def test_floats_in_idx_are_refused(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "floats.gz", "wb") as file:
        file.write(struct.pack(">HBBI", 0, 0x0D, 1, 2) + np.zeros(2, ">f4").tobytes())
    with pytest.raises(BadInput, match="unsigned bytes"):
        read_idx(tmp_path / "floats.gz")


def test_the_published_files() -> None:
    folder = Path(os.environ.get("HWNAS_DATA", "")) / "fashion_mnist"
    if "HWNAS_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("set HWNAS_DATA to a folder that holds fashion_mnist/")
    raw = load(folder)
    assert raw.train.pixels.shape == (60_000, 1, 28, 28) and raw.test.pixels.shape == (10_000, 1, 28, 28)
    assert np.bincount(raw.train.labels).tolist() == [6000] * 10
    assert np.bincount(raw.test.labels).tolist() == [1000] * 10
    assert raw.train.pixels.mean() / 255 == pytest.approx(0.2860, abs=1e-4)


def test_what_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwnas.training.datasets.fashion_mnist._MOST_BYTES", 1 << 20)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes((1 << 20) + 1)))
    assert path.stat().st_size < 5000
    with pytest.raises(BadInput, match="unpacks to more than 1 MiB"):
        read_idx(path)
