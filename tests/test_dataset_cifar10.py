"""CIFAR-10's binary and python batches; a pickle that wants to run code is refused without running it."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import Arrays, write_cifar10_binary, write_cifar10_python

from hwnas.core.errors import BadInput
from hwnas.training.datasets.cifar10 import Cifar10, Cifar10Settings, read_python


def check(folder: Path, arrays: Arrays) -> None:
    raw = Cifar10(Cifar10Settings(dir=folder)).load(32)
    train = np.concatenate([pixels for name, (pixels, _) in arrays.items() if name != "test_batch"])
    assert np.array_equal(raw.train.pixels.reshape(-1, 3072), train)
    assert np.array_equal(raw.test.labels, arrays["test_batch"][1])
    assert raw.train.pixels.shape[1:] == (3, 32, 32) and raw.class_names[6] == "frog"


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_binary_batches(tmp_path: Path, inner: str) -> None:
    check(tmp_path, write_cifar10_binary(tmp_path / inner))


@pytest.mark.parametrize("protocol", [2, 4])
def test_python_batches(tmp_path: Path, protocol: int) -> None:
    check(tmp_path, write_cifar10_python(tmp_path / "cifar-10-batches-py", protocol))


def test_python_batches_written_by_an_old_numpy(tmp_path: Path) -> None:
    """numpy 1 names its module numpy.core; the published files do too."""
    arrays = write_cifar10_python(tmp_path)
    for name in arrays:
        content = (tmp_path / name).read_bytes()
        assert b"numpy._core.multiarray" in content
        (tmp_path / name).write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    check(tmp_path, arrays)


def test_half_a_set_names_what_is_missing(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(BadInput, match="data_batch_3"):
        Cifar10(Cifar10Settings(dir=tmp_path)).load(32)


@pytest.mark.parametrize("cut", [0, 1, 3072, 3074])
def test_torn_binary(tmp_path: Path, cut: int) -> None:
    write_cifar10_binary(tmp_path)
    whole = (tmp_path / "test_batch.bin").read_bytes()
    (tmp_path / "test_batch.bin").write_bytes(whole[:cut])
    with pytest.raises(BadInput, match=r"test_batch\.bin is damaged"):
        Cifar10(Cifar10Settings(dir=tmp_path)).load(32)


class Hostile:
    """Unpickled, it runs a shell command."""

    def __init__(self, function, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("inside", ["whole", "data", "labels", "key"])
def test_a_hostile_pickle_is_refused_without_running(tmp_path: Path, inside: str) -> None:
    trace = tmp_path / "was_here"
    hostile = Hostile(os.system, f"touch {trace}")
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}
    content = {
        "whole": hostile,
        "data": batch | {b"data": hostile},
        "labels": batch | {b"labels": [hostile]},
        "key": batch | {b"more": hostile},
    }[inside]
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(BadInput, match=r"posix\.system|nt\.system"):
        read_python(tmp_path / "batch")
    assert not trace.exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__, open, np.load, np.fromfile, pickle.loads])
def test_no_other_callable_is_allowed(tmp_path: Path, function) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps(Hostile(function, "1"), protocol=2))
    with pytest.raises(BadInput, match="it refers to"):
        read_python(tmp_path / "batch")


BATCH = pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}, protocol=2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 400), value=st.integers(0, 255), keep=st.integers(0, len(BATCH) - 1))
def test_torn_and_altered_pickles_never_give_a_traceback(tmp_path: Path, position: int, value: int, keep: int) -> None:
    content = bytearray(BATCH)
    content[position] = value
    for damaged in (bytes(content), BATCH[:keep]):
        (tmp_path / "batch").write_bytes(damaged)
        try:
            read_python(tmp_path / "batch")
        except BadInput as error:
            assert "batch" in error.what


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {b"data": np.zeros((2, 3072), np.uint8)},
        {b"data": np.zeros((2, 3071), np.uint8), b"labels": [0, 1]},
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1, 2]},
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 99]},
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, -1]},
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": ["a", "b"]},
        {b"data": [[300] * 3072] * 2, b"labels": [0, 1]},
        {b"data": np.zeros((0, 3072), np.uint8), b"labels": []},
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(BadInput):
        read_python(tmp_path / "batch")
