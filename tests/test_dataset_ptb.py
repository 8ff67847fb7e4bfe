"""Text files of one sentence a line, and what is said when one is torn, empty or in another encoding."""

import lzma
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import write_text

from hwnas.core.errors import BadInput
from hwnas.training.data import open_data
from hwnas.training.datasets.ptb import Ptb, PtbSettings, words_of

TEXTS = {"train": "a b a\n c a \n", "valid": "b a\n", "test": "c\n"}


def write(folder: Path, suffix: str = ".txt", **texts: str) -> Path:
    for part, text in (TEXTS | texts).items():
        content = text.encode()
        (folder / f"{part}{suffix}").write_bytes(lzma.compress(content) if suffix.endswith(".xz") else content)
    return folder


def load(folder: Path, **own: int):
    return Ptb(PtbSettings(dir=folder, **own)).load(0)


@pytest.mark.parametrize("suffix", [".txt", ".txt.xz"])
def test_words_are_numbered_by_how_often_they_occur(tmp_path: Path, suffix: str) -> None:
    raw = load(write(tmp_path, suffix))
    assert raw.words == ("a", "<eos>", "b", "c")
    assert raw.train.tolist() == [0, 2, 0, 1, 3, 0, 1]
    assert (raw.valid.tolist(), raw.test.tolist()) == ([2, 0, 1], [3, 1])


def test_files_may_carry_the_name_of_their_set(tmp_path: Path) -> None:
    write(tmp_path)
    for part in TEXTS:
        (tmp_path / f"{part}.txt").rename(tmp_path / f"mine.{part}.txt")
    assert len(load(tmp_path).train) == 7
    write(tmp_path)
    with pytest.raises(BadInput, match=r"several train texts: mine\.train\.txt, train\.txt"):
        load(tmp_path)


def test_a_limit_takes_words_and_leaves_the_vocabulary(tmp_path: Path) -> None:
    write_text(tmp_path)
    own = {"dir": str(tmp_path)}
    whole, cut = (open_data("ptb", own | {"limit": limit}, 0, seed=0) for limit in (None, 100))
    assert cut.class_names == whole.class_names and cut.channels == 0
    assert cut.weights.words.tolist() == whole.weights.words[:100].tolist()  # type: ignore[attr-defined]
    assert cut.search.samples == whole.search.samples
    assert load(tmp_path, valid_limit=9).valid.tolist() == load(tmp_path).valid[:9].tolist()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"test": ""}, r"test\.txt holds no words"),
        ({"valid": " \n\n"}, r"valid\.txt holds no words"),
        ({"valid": "a zebra\n"}, "1 words that the training text lacks: zebra"),
        ({"train": " ".join(map(str, range(20)))}, r"21 different words, over data\.most_words \(8\)"),
    ],
    ids=["empty", "blank", "unknown", "overflow"],
)
def test_what_cannot_be_read_is_named_with_its_mend(tmp_path: Path, texts: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        load(write(tmp_path, **texts), most_words=8)
    assert caught.value.mend


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "valid.txt").unlink()
    with pytest.raises(BadInput, match="holds no valid text"):
        load(tmp_path)


def test_another_encoding_is_named_with_the_place(tmp_path: Path) -> None:
    (write(tmp_path) / "train.txt").write_bytes("ab é".encode("latin1"))
    with pytest.raises(BadInput, match="not UTF-8: byte 0xe9 at place 3") as caught:
        load(tmp_path)
    assert "iconv" in caught.value.mend


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.floats(0, 0.999), flip=st.integers(0, 10_000))
def test_torn_and_altered_files_never_give_a_traceback(tmp_path: Path, keep: float, flip: int) -> None:
    path, content = tmp_path / "train.txt.xz", bytearray(lzma.compress(b"the cat sat on the mat\n" * 20))
    whole = bytes(content)
    path.write_bytes(whole)
    words = words_of(path)
    content[flip % len(content)] ^= 0xFF
    for damaged in (bytes(content), whole[: int(keep * len(whole))]):
        path.write_bytes(damaged)
        try:
            assert words_of(path) == words
        except BadInput as error:
            assert str(path) in error.what


@pytest.mark.parametrize("own", [{"limit": 0}, {"search_fraction": 0.5}])
def test_settings_that_say_nothing_of_a_text_are_refused(tmp_path: Path, own: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        open_data("ptb", {"dir": str(write(tmp_path))} | own, 0, seed=0)


def test_penn_treebank_has_its_published_size() -> None:
    folder = Path(os.environ.get("HWNAS_DATA", "")) / "ptb"
    if "HWNAS_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("set HWNAS_DATA to a folder that holds ptb/")
    raw = load(folder)
    assert [len(raw.train), len(raw.valid), len(raw.test), len(raw.words)] == [929_589, 73_760, 82_430, 10_000]
