"""Profiling that is killed goes on with the next turn."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY, hwnas

from hwnas.core.journal import Journal
from hwnas.latency import table
from hwnas.latency.turns import Turns

OPERATORS = 22
ROUNDS = TINY["profile"]["protocol"]["rounds"]
TURNS = ROUNDS * (OPERATORS + 8 + 2 * 4)
"""Of the operators, the fitted networks, and the held-out ones twice."""

PROFILE = ("profile", "--config", "tiny.yaml", "--quiet")


class Killed(BaseException): ...


@pytest.fixture
def taken(monkeypatch) -> Callable[..., list[int]]:
    """`taken(limit)`: turns are counted from now on, and the one after `limit` is the process's last."""

    def count(limit: int = 10**9) -> list[int]:
        turns: list[int] = []

        def record(self: Turns, key: str, number: int, samples_ns: list[int]) -> None:
            if len(turns) == limit:
                raise Killed
            turns.append(number)
            self.journal.append("turn", key=key, round=number, samples_ns=samples_ns)

        monkeypatch.setattr(Turns, "record", record)
        return turns

    return count


@pytest.mark.parametrize("limit", [1, ROUNDS * OPERATORS + 5, TURNS - 1])
def test_no_turn_is_taken_twice(bare: Path, taken, limit: int):
    first = taken(limit)
    with pytest.raises(Killed):
        hwnas(*PROFILE)
    again = taken()
    assert hwnas(*PROFILE).code == 0
    assert len(first) == limit
    assert len(first) + len(again) == TURNS
    assert not (bare / "latency_tables" / ".cpu.turns.jsonl").exists()


@pytest.mark.parametrize("saves", [0, 1])
def test_killed_between_the_last_turn_and_the_table(bare: Path, taken, monkeypatch, saves: int):
    left = [saves]

    def save(self: table.LatencyTable, path: Path) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        path.write_text(table._serialise(self.model_dump(mode="json")))

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(table.LatencyTable, "save", save)
        hwnas(*PROFILE)
    again = taken()
    assert hwnas(*PROFILE).code == 0
    assert len(again) == (TURNS - ROUNDS * OPERATORS if saves == 0 else 0)


def test_turns_of_another_protocol_are_not_taken_over(bare: Path, taken):
    taken(10)
    with pytest.raises(Killed):
        hwnas(*PROFILE)
    again = taken()
    assert hwnas(*PROFILE, "--set", "profile.protocol.turn_ms=0.4").code == 0
    assert len(again) == TURNS


def test_a_torn_turn_is_taken_again(bare: Path, taken):
    taken(10)
    with pytest.raises(Killed):
        hwnas(*PROFILE)
    turns = bare / "latency_tables" / ".cpu.turns.jsonl"
    turns.write_bytes(turns.read_bytes()[:-5])
    assert len(Journal(turns).records) == 10  # the owner and nine turns
    again = taken()
    assert hwnas(*PROFILE).code == 0
    assert len(again) == TURNS - 9


def test_a_table_that_is_whole_is_not_measured_again(workspace: Path, taken):
    before = (workspace / "latency_tables" / "cpu.json").read_bytes()
    turns = taken()
    assert hwnas(*PROFILE).code == 0
    assert turns == []
    assert (workspace / "latency_tables" / "cpu.json").read_bytes() == before


def test_fresh_measures_everything_again(workspace: Path, taken):
    turns = taken()
    assert hwnas(*PROFILE, "--fresh").code == 0
    assert len(turns) == TURNS


def test_dry_run_only_plans(bare: Path):
    outcome = hwnas(*PROFILE, "--dry-run")
    assert outcome.code == 0
    assert f"{OPERATORS} operators and 16 whole networks" in outcome.stdout
    assert not (bare / "latency_tables").exists()
