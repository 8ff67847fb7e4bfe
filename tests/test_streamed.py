"""Images on disk: the same splits and batches as in memory, whatever the count of workers; faults are told."""

import os
import shutil
import signal
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import Any

import numpy as np
import pytest
import torch
from small_data import picture, write_image, write_shard, write_shards

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.progress import be_quiet
from hwnas.training import loading
from hwnas.training.data import Data, ImageSplit, open_data
from hwnas.training.datasets import _files, _source
from hwnas.training.loading import Throughput
from hwnas.training.ranks import Ranks
from hwnas.training.streamed import StreamedSplit


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count in (("train", 60), ("val", 12)):
        for label, name in enumerate(("ant", "bee", "wasp")):
            for number in range(count):
                write_image(tmp_path / "images" / part / name / f"{number}.png", (20, 16 + label), seed=number)
    return tmp_path / "images"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    pytest.importorskip("webdataset", reason="the extra [webdataset] is not installed")
    write_shards(tmp_path / "shards")
    return tmp_path / "shards"


def opened(name: str, folder: Path, **settings: Any) -> Data:
    return open_data(name, {"dir": str(folder), "workers": 1, **settings}, 12, 0)


def epoch(split: Any, seed: int = 5, batch: int = 16) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(split.epoch(batch, torch.Generator().manual_seed(seed)))


def same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(a, b, strict=True)
    )


def numbers_of(split: Any) -> list[bytes]:
    return sorted(x.numpy().tobytes() for batch, _ in split.plain() for x in batch)


def settle(folder: Path) -> None:
    """Dates of an hour ago: what has only just changed is not kept in an index."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, ns=(time_ns() - 3600 * 10**9,) * 2)


def test_a_folder_on_disk_gives_the_batches_of_one_in_memory(folder: Path) -> None:
    held, streamed = opened("imagefolder", folder), opened("imagefolder", folder, held_gib=0)
    assert isinstance(held.train, ImageSplit) and isinstance(streamed.train, StreamedSplit)
    for name in ("weights", "search", "train"):
        a, b = getattr(held, name), getattr(streamed, name)
        assert len(a) == len(b) and same(epoch(a), epoch(b)), name
        assert same(list(a.plain()), list(b.plain())), name
        assert torch.equal(a.first(7), b.first(7)) and torch.equal(a.origins(7)["pixels"], b.origins(7)["pixels"])
        assert torch.equal(a.spread(9), b.spread(9)) and a.standard_error(0.5) == b.standard_error(0.5)
    assert same(list(held.open_test().plain()), list(streamed.open_test().plain()))
    limited = [opened("imagefolder", folder, limit=90, **own).search for own in ({}, {"held_gib": 0})]
    assert numbers_of(limited[0]) == numbers_of(limited[1])


def test_shards_are_split_as_wholes_and_read_once(shards: Path) -> None:
    data = opened("webdataset", shards)
    assert data.class_names == ("0", "1", "2", "3")
    weights, search, train, test = map(numbers_of, (data.weights, data.search, data.train, data.open_test()))
    assert len(weights) == 120 and len(search) == 40 and len(test) == 40
    assert sorted(weights + search) == train and len(set(train)) == 160 and not set(train) & set(test)
    assert numbers_of(opened("webdataset", shards).search) == search
    again = open_data("webdataset", {"dir": str(shards), "workers": 1}, 12, seed=1)
    assert numbers_of(again.search) != search


@pytest.mark.parametrize("name", ["imagefolder", "webdataset"])
def test_batches_depend_on_the_seed_and_not_on_the_workers(
    name: str, folder: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"imagefolder": folder, "webdataset": shards}[name]
    own = {"held_gib": 0} if name == "imagefolder" else {"buffer": 100}
    found = [epoch(opened(name, where, **own, **{"workers": workers}).weights) for workers in (1, 2, 5)]
    assert same(found[0], found[1]) and same(found[0], found[2])
    split = opened(name, where, **own).weights
    labels = torch.cat([y for _, y in epoch(split)])
    assert len(labels) == len(split) // 16 * 16
    assert not torch.equal(labels, torch.cat([y for _, y in epoch(split, seed=6)]))
    state = torch.random.get_rng_state()
    epoch(split)
    assert torch.equal(state, torch.random.get_rng_state()), "a loader must not draw from everybody's generator"


def test_ranks_share_what_one_alone_would_read(folder: Path) -> None:
    split = opened("imagefolder", folder, held_gib=0).weights
    whole, parts = epoch(split), []
    for rank in range(2):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, 2
        parts.append(split.share(ranks))
    both = [(torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]])) for a, b in zip(*map(epoch, parts), strict=True)]
    assert same(whole, both)
    assert sorted(numbers_of(parts[0]) + numbers_of(parts[1])) == numbers_of(split)


def test_a_shuffled_shard_is_mixed_with_others(shards: Path) -> None:
    """Chunks of an epoch's beginning come from many shards, in no order of theirs."""
    split = opened("webdataset", shards, buffer=480).train
    plain = [x.numpy().tobytes() for batch, _ in split.plain() for x in batch]
    place = {pixels: number for number, pixels in enumerate(plain)}
    chunks = split.loading.chunks(split.source.shuffled(torch.Generator().manual_seed(0)), alone=True)
    order = [place[x.numpy().tobytes()] for chunk in chunks for x in split.inputs(chunk.pixels)]
    assert sorted(order) == list(range(160)) and order != list(range(160))
    assert np.mean(np.diff(order) == 1) < 0.3


def _torn_image(shards: Path) -> str:
    write_shard(shards / "train-0003.tar", [(f"k{n}", {"png": picture(n)[:90], "cls": b"1"}) for n in range(3)])
    return "not a readable image"


def _no_label(shards: Path) -> str:
    write_shard(shards / "train-0003.tar", [("a", {"png": picture(1)}), ("b", {"png": picture(2), "cls": b"1"})])
    return "has no label 'cls'"


def _no_image(shards: Path) -> str:
    write_shard(shards / "train-0003.tar", [("a", {"cls": b"1"}), ("b", {"png": picture(2), "cls": b"1"})])
    return "has no image"


def _binary_label(shards: Path) -> str:
    parts = {"png": picture(1), "cls": b"\x00\xff"}
    write_shard(shards / "train-0003.tar", [("a", parts), ("b", {"png": picture(2), "cls": b"1"})])
    return "no class"


def _truncated(shards: Path) -> str:
    path = shards / "train-0003.tar"
    path.write_bytes(path.read_bytes()[:20_000])
    return "not a whole tar file"


def _twice(shards: Path) -> str:
    same_twice = [("a", {"png": picture(1), "cls": b"1"})] * 2
    write_shard(shards / "train-0003.tar", [("0", {"png": picture(2), "cls": b"0"}), *same_twice])
    return "twice"


@pytest.mark.parametrize("harm", [_torn_image, _no_label, _no_image, _binary_label, _truncated, _twice])
def test_a_corrupt_shard_is_named_or_counted(
    shards: Path, harm: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    what = harm(shards)
    with pytest.raises(BadInput) as refused:
        epoch(opened("webdataset", shards).train)
    assert what in refused.value.what and "train-0003.tar" in refused.value.what
    assert "skip_corrupt" in refused.value.mend
    train = opened("webdataset", shards, skip_corrupt=True).train
    images = sum(len(y) for _, y in train.plain())
    assert 140 <= images < 160 and "skipped" in capsys.readouterr().err
    assert epoch(train)


@pytest.mark.parametrize("content", [b"", b"no tar", bytes(2048), b"\x1f\x8b" + bytes(600)])
def test_what_is_no_tar_is_refused(shards: Path, content: bytes) -> None:
    (shards / "train-0001.tar").write_bytes(content)
    with pytest.raises(BadInput, match=r"train-0001\.tar"):
        opened("webdataset", shards, skip_corrupt=True)


def test_a_command_in_a_name_is_a_name(shards: Path) -> None:
    """WebDataset runs what comes after `pipe:`; and names leave their shard by no path."""
    shutil.copy(shards / "train-0000.tar", shards / "pipe:touch owned-train;.tar")
    write_shard(shards / "train-0001.tar", [("../../out", {"png": picture(1), "cls": b"1"})])
    data = opened("webdataset", shards)
    assert len(numbers_of(data.train)) == 161
    assert not list(shards.parent.rglob("owned*")) and not list(shards.parent.parent.glob("out*"))


def test_an_image_that_would_fill_the_memory_is_refused(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hwnas.training.datasets import _shard_index

    monkeypatch.setattr(_shard_index, "_LARGEST_IMAGE", 1000)
    with pytest.raises(BadInput, match=r"has .* bytes"):
        opened("webdataset", shards, skip_corrupt=True)


def test_shards_that_cannot_be_split_are_refused(tmp_path: Path, shards: Path) -> None:
    write_shards(tmp_path / "one", train=1)
    with pytest.raises(BadInput, match="cannot be split"):
        opened("webdataset", tmp_path / "one")
    for shard in range(8):
        sample = {"png": picture(shard), "cls": str(shard).encode()}
        write_shard(tmp_path / "sorted" / f"train-{shard}.tar", [("a", sample), ("b", sample)])
    write_shard(tmp_path / "sorted" / "test-0.tar", [("a", {"png": picture(9), "cls": b"1"})])
    with pytest.raises(BadInput, match="search split") as refused:
        opened("webdataset", tmp_path / "sorted")
    assert "shuffle" in refused.value.mend
    write_shard(shards / "test-0001.tar", [("a", {"png": picture(1), "cls": b"wasp"})])
    with pytest.raises(BadInput, match="wasp"):
        opened("webdataset", shards)


@pytest.mark.parametrize("skip", [False, True])
def test_a_corrupt_file_is_named_or_counted(folder: Path, skip: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        (folder / "train" / "bee" / f"{number}.png").write_bytes(b"torn")
    if not skip:
        with pytest.raises(BadInput, match=r"bee.*\.png"):
            numbers_of(opened("imagefolder", folder, held_gib=0).train)
        return
    train = opened("imagefolder", folder, held_gib=0, skip_corrupt=True).train
    assert len(numbers_of(train)) == 177 and len(epoch(train)) == 177 // 16
    assert "3 images were skipped" in capsys.readouterr().err
    for path in (folder / "train").rglob("*.png"):
        path.write_bytes(b"torn")
    with pytest.raises(BadInput, match="none of"):
        opened("imagefolder", folder, held_gib=0, skip_corrupt=True)


def test_a_folder_is_listed_once_and_again_when_it_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[Path] = []
    real = _files._images
    monkeypatch.setattr(_files, "_images", lambda path: listed.append(path) or real(path))
    opened("imagefolder", folder)
    opened("imagefolder", folder)
    assert len(listed) == 12, "what has only just changed is not kept"
    settle(folder)
    before = len(opened("imagefolder", folder).train)
    del listed[:]
    assert len(opened("imagefolder", folder).train) == before and not listed
    shutil.copy(folder / "train" / "ant" / "0.png", folder / "train" / "ant" / "new.png")
    assert len(opened("imagefolder", folder).train) == before + 1
    (folder / "train" / "bee" / "3.png").unlink()
    assert len(opened("imagefolder", folder).train) == before


@pytest.mark.parametrize("cut", [0, 10, 300, -5])
def test_a_torn_index_is_made_again(folder: Path, shards: Path, cache: Path, cut: int) -> None:
    settle(folder)
    settle(shards)
    before = [len(opened(name, where).train) for name, where in (("imagefolder", folder), ("webdataset", shards))]
    kept = list((cache / "hwnas").iterdir())
    assert len(kept) == 3
    for file in kept:
        file.write_bytes(file.read_bytes()[:cut])
    assert [len(opened(n, w).train) for n, w in (("imagefolder", folder), ("webdataset", shards))] == before


def test_a_shard_that_changed_is_indexed_again(shards: Path) -> None:
    settle(shards)
    assert len(opened("webdataset", shards).train) == 160
    write_shard(shards / "train-0000.tar", [("a", {"png": picture(1), "cls": b"1"})])
    assert len(opened("webdataset", shards).train) == 141


def test_a_cache_that_cannot_be_written_is_only_told(
    folder: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(folder)
    cache.write_text("a file in its place")
    assert len(opened("imagefolder", folder).train) == 180
    assert "indexed again" in capsys.readouterr().err


def test_a_worker_that_is_killed_ends_the_run_with_a_word(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, real = opened("imagefolder", folder, held_gib=0, workers=2).train, _source.square_of

    def slow(encoded: Any, size: int) -> np.ndarray:
        sleep(0.03)
        return real(encoded, size)

    monkeypatch.setattr(_source, "square_of", slow)  # so that not all is read ahead
    batches = train.epoch(8, torch.Generator().manual_seed(0))
    next(batches)
    for child in active_children():
        os.kill(child.pid or 0, signal.SIGKILL)
    for _ in range(20):  # a signal handler of torch's would raise here
        sleep(0.01)
    with pytest.raises(Unavailable, match="was lost"):
        list(batches)


def test_a_worker_that_hangs_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_LIMIT_SECONDS", 1)
    train = opened("imagefolder", folder, held_gib=0).train
    pipe = next((folder / "train" / "ant").iterdir())
    pipe.unlink()
    os.mkfifo(pipe)
    start = monotonic()
    with pytest.raises(Unavailable, match="was lost"):
        numbers_of(train)
    assert monotonic() - start < 20


def test_no_process_outlives_an_epoch_that_was_left(folder: Path) -> None:
    batches = opened("imagefolder", folder, held_gib=0, workers=2).train.epoch(8, torch.Generator())
    next(batches)
    assert active_children()
    del batches
    for _ in range(100):
        if not active_children():
            return
        sleep(0.1)
    raise AssertionError("workers are still there")


def test_waiting_is_told_and_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    be_quiet(False)  # whatever an earlier test in this process asked for
    now = 0.0

    def slow(wait: float) -> Any:
        nonlocal now
        for _ in range(10):
            now += wait
            yield torch.zeros(100, 1), torch.zeros(100)

    def train(wait: float, compute: float) -> Throughput:
        nonlocal now
        throughput = Throughput(clock=lambda: now)
        for _ in throughput.watch(slow(wait), expected=10):
            now += compute
        return throughput

    fed = train(wait=0.1, compute=0.9)
    assert fed.told == [(pytest.approx(100), pytest.approx(0.1))]
    told = capsys.readouterr().err
    assert "100 images/s" in told and "10 %" in told and "warning" not in told
    assert train(wait=0.9, compute=0.3).told == [(pytest.approx(83.3, rel=0.01), pytest.approx(0.75))]
    assert "warning: data: 83 images/s, and the trainer waited 75 %" in capsys.readouterr().err


def test_an_epoch_that_is_left_early_tells_nothing() -> None:
    throughput = Throughput()
    batches = throughput.watch(iter([(0, torch.zeros(1))] * 10), expected=10)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert throughput.told == []
