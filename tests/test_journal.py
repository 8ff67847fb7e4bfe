import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwnas.core.errors import BadInput, StorageFailed
from hwnas.core.journal import Journal

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.text(min_size=1, max_size=8).filter(lambda key: key not in ("self", "kind"))
records = st.lists(
    st.tuples(st.sampled_from(["trial", "epoch"]), st.dictionaries(keys, values, max_size=4)), max_size=5
)
in_a_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None, derandomize=True
)


def written(path: Path, entries: list) -> Journal:
    path.unlink(missing_ok=True)
    journal = Journal(path)
    for kind, fields in entries:
        journal.append(kind, **fields)
    return journal


@in_a_folder
@given(records)
def test_what_was_appended_is_read_back(tmp_path: Path, entries: list):
    journal = written(tmp_path / "journal", entries)
    again = Journal(tmp_path / "journal")
    assert again.records == journal.records == [{"kind": kind, **fields} for kind, fields in entries]
    assert again.digest() == journal.digest()


def test_a_torn_last_line_is_dropped_at_every_cut(tmp_path: Path):
    path = tmp_path / "journal"
    written(path, [("trial", {"arch": [1, 2], "name": "é\n"}), ("trial", {"arch": [3], "name": "last"})])
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for cut in range(first, len(content)):
        path.write_bytes(content[:cut])
        journal = Journal(path)
        assert [r["arch"] for r in journal.records] == [[1, 2]]
        assert path.read_bytes() == content[:cut]  # opening only reads: another process may be writing
        journal.append("trial", arch=[4])
        journal.append("trial", arch=[5])
        assert [r["arch"] for r in Journal(path).records] == [[1, 2], [4], [5]]


@pytest.mark.parametrize("line", [b'{"kind": "tri', b"null", b"[]", b'{"no": "kind"}', b'{"kind": 3}', b"\xff", b""])
def test_a_torn_line_in_the_middle_is_refused(tmp_path: Path, line: bytes):
    path = tmp_path / "journal"
    path.write_bytes(b'{"kind": "trial"}\n' + line + b'\n{"kind": "trial"}\n')
    before = path.read_bytes()
    with pytest.raises(BadInput, match="line 2") as refused:
        Journal(path)
    assert "--out" in refused.value.mend
    assert path.read_bytes() == before


def test_the_digest_sees_decisions_and_ignores_times_and_measurements(tmp_path: Path):
    decided = {"arch": [1], "accuracy": 0.5, "facts": [{"deep": 1}]}
    timed = {"spent_seconds": 1.0, "latency_ms": 2.0, "started_at": "now", "samples_ns": [3], "measured": {"median": 4}}
    other = {"spent_seconds": 9.0, "latency_ms": 8.0, "started_at": "then", "samples_ns": [], "measured": None}
    deep = [{"facts": [{"deep": 1, "spent_seconds": n}]} for n in (1, 2)]
    digest = written(tmp_path / "a", [("trial", decided | timed)]).digest()
    assert written(tmp_path / "b", [("trial", decided | other)]).digest() == digest
    assert written(tmp_path / "c", [("trial", decided | deep[0])]).digest() == digest
    assert written(tmp_path / "d", [("trial", decided | deep[1])]).digest() == digest
    assert written(tmp_path / "e", [("trial", decided | {"accuracy": 0.6})]).digest() != digest
    assert written(tmp_path / "f", [("epoch", decided)]).digest() != digest
    assert written(tmp_path / "g", [("trial", decided), ("trial", decided)]).digest() != digest


def test_a_full_disk_costs_nothing_written_before(tmp_path: Path, monkeypatch):
    path = tmp_path / "journal"
    journal = written(path, [("trial", {"arch": [1]})])
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(StorageFailed, match="No space left"):
        patched.setattr(os, "fsync", full)
        journal.append("trial", arch=[2])
    assert path.read_bytes() == before
    assert len(journal.records) == 1
    journal.append("trial", arch=[3])
    assert [json.loads(line)["arch"] for line in path.read_text().splitlines()] == [[1], [3]]


def test_a_real_full_disk(small_disk):
    path = small_disk("64k") / "journal"
    journal = Journal(path)
    with pytest.raises(StorageFailed):
        for number in range(100):
            journal.append("trial", number=number, padding="x" * 2000)
    assert Journal(path).records == journal.records
    assert 10 < len(journal.records) < 100


def test_nan_is_never_written(tmp_path: Path):
    journal = Journal(tmp_path / "journal")
    with pytest.raises(ValueError, match="JSON"):
        journal.append("trial", accuracy=float("nan"))
    assert Journal(tmp_path / "journal").records == []


def test_last_and_of(tmp_path: Path):
    journal = written(tmp_path / "j", [("chosen", {"role": r, "n": n}) for n, r in enumerate(["a", "b", "a"])])
    assert [r["n"] for r in journal.of("chosen", role="a")] == [0, 2]
    last = journal.last("chosen", role="a")
    assert last is not None
    assert last["n"] == 2
    assert journal.last("chosen", role="c") is None


@pytest.mark.slow
def test_a_million_lines_open_in_seconds(tmp_path: Path):
    trial = {"kind": "trial", "arch": [3] * 21, "accuracy": 0.5, "predicted": 1.2345678, "predicted_p95": 1.3456789}
    lines = (json.dumps(trial | {"number": number}) + "\n" for number in range(1_000_000))
    with (tmp_path / "journal").open("w") as file:
        file.writelines(lines)
    start = monotonic()
    journal = Journal(tmp_path / "journal")
    seconds = monotonic() - start
    assert len(journal.records) == 1_000_000 and journal.records[-1]["number"] == 999_999
    assert seconds < 30, f"{seconds:.1f} s, where a core to itself takes 5"
    start = monotonic()
    assert journal.last("trial") is journal.records[-1]
    assert monotonic() - start < 0.01


APPENDER = """
import sys
from pathlib import Path
from hwnas.core.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(200):
    journal.append("trial", writer=int(sys.argv[2]), number=number, padding="x" * (number % 50))
"""


def test_ten_processes_append_while_one_reads(tmp_path: Path):
    path = tmp_path / "journal"
    writers = [subprocess.Popen([sys.executable, "-c", APPENDER, str(path), str(n)]) for n in range(10)]
    reader, read = Journal(path), 0
    while any(writer.poll() is None for writer in writers):
        read += len(reader.refresh())
        assert Journal(path).records[: len(reader.records)] == reader.records
    read += len(reader.refresh())
    assert [writer.returncode for writer in writers] == [0] * 10
    assert read == len(reader.records) == 2000
    for writer in range(10):
        assert [record["number"] for record in reader.of("trial", writer=writer)] == list(range(200))
    assert reader.records == Journal(path).records


def test_a_writer_killed_in_the_middle_of_a_line_harms_no_other(tmp_path: Path):
    path = tmp_path / "journal"
    first, second = Journal(path), Journal(path)
    first.append("trial", number=1)
    with path.open("ab") as file:
        file.write(b'{"kind": "tri')
    second.append("trial", number=2)
    first.append("trial", number=3)
    assert [record["number"] for record in first.records] == [1, 2, 3]
    assert Journal(path).records == first.records
