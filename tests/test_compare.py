"""`hwnas compare` on published tables, where the truth is known: what it says, and that nothing stops it."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Outcome, hwnas, start
from published import STRATEGIES, arguments, columns, write
from scipy.stats import t

from hwnas.compare.paired import interval_90, mean_of, paired
from hwnas.core.journal import VOLATILE, Journal
from hwnas.run.directory import held


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path)


def told(outcome: Outcome) -> dict[str, Any]:
    """The JSON, without times, memory and the folder."""
    assert outcome.code == 0, outcome.stderr
    found = json.loads(outcome.stdout.splitlines()[-1])
    del found["compare_dir"]
    return _decided(found)


def _decided(value: Any) -> Any:
    if isinstance(value, dict):
        # A published latency is no measurement, simulated seconds are no time.
        kept = {k: v for k, v in value.items() if k in KEPT or not k.endswith(VOLATILE)}
        return {k: _decided(v) for k, v in kept.items()}
    return [_decided(v) for v in value] if isinstance(value, list) else value


KEPT = ("budget_ms", "latency_ms", "simulated_seconds")


def test_regret_is_to_the_best_within_the_budget(table: Path) -> None:
    found = told(hwnas(*arguments(table), "--seeds", 4, "--budget", "50%,3ms", "--json"))
    data = columns()
    rows = {tuple(arch): number for number, arch in enumerate(data["archs"].tolist())}
    assert len(found["outcomes"]) == 3 * 2 * 4
    for outcome in found["outcomes"]:
        within = data["latency_ms"][0] <= outcome["budget_ms"]
        mine = rows[tuple(outcome["arch"])]
        assert within[mine] and outcome["over_budget"] == 0 and outcome["queries"] == 30
        assert outcome["latency_ms"] == pytest.approx(data["latency_ms"][0, mine])
        assert outcome["accuracy"] == pytest.approx(data["test"][mine] / 100)
        assert outcome["regret"] == pytest.approx((data["test"][within].max() - data["test"][mine]) / 100)
        assert 30 * 100 < outcome["simulated_seconds"] < 30 * 200
    assert {o["budget_ms"] for o in found["outcomes"] if o["budget"] == "3ms"} == {3.0}


def test_differences_are_paired_by_seed(table: Path) -> None:
    found = told(hwnas(*arguments(table), "--seeds", 5, "--json"))
    by_name = {
        name: np.array([100 * o["accuracy"] for o in found["outcomes"] if o["strategy"] == name])
        for name in STRATEGIES.split(",")
    }
    differences = by_name["nsga2"] - by_name["random"]
    row = next(row for row in found["rows"] if row["strategy"] == "nsga2")
    half = t.ppf(0.95, 4) * differences.std(ddof=1) / np.sqrt(5)
    against = row["against"]["random"]
    assert (against["mean"], against["n"]) == (pytest.approx(differences.mean()), 5)
    assert [against["low"], against["high"]] == pytest.approx([differences.mean() - half, differences.mean() + half])


def test_only_seeds_that_both_have_are_paired() -> None:
    found = paired({0: 1.0, 1: 2.0, 2: None, 3: 9.0}, {0: 0.5, 1: 1.0, 2: 3.0})
    assert found is not None and (found.mean, found.n) == (0.75, 2)
    one = mean_of([1.0])
    assert one is not None and one.text(1) == "1.0" and one.low is None
    assert paired({0: 1.0}, {1: 1.0}) is None
    assert interval_90(np.array([1.0, 3.0]))[0] == pytest.approx(2 - 6.314, abs=1e-3)


def test_killed_it_goes_on_to_the_same_table(table: Path, tmp_path: Path) -> None:
    command = [*arguments(table), "--seeds", 14, "--json"]
    process = start(*command, "--out", "killed", folder=tmp_path)
    journal = tmp_path / "killed" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 8):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = journal.read_bytes().count(b"\n")
    assert 8 <= done < 42
    with journal.open("ab") as file:
        file.write(b'{"kind": "looked_u')  # and torn
    resumed = told(hwnas(*command, "--out", "killed"))
    assert len(Journal(journal).records) == 42
    assert resumed == told(hwnas(*command, "--out", "straight"))


def test_two_workers_write_the_same_table_as_one(table: Path) -> None:
    command = [*arguments(table), "--seeds", 3, "--json"]
    assert told(hwnas(*command, "--out", "two", "--workers", 2)) == told(hwnas(*command, "--out", "one"))


def test_done_again_nothing_is_searched_and_more_seeds_are_added(table: Path) -> None:
    command = [*arguments(table), "--out", "c"]
    assert hwnas(*command, "--seeds", 2).code == 0
    before = Path("c/journal.jsonl").read_bytes()
    assert hwnas(*command, "--seeds", 2).code == 0
    assert Path("c/journal.jsonl").read_bytes() == before
    assert hwnas(*command, "--seeds", 3).code == 0
    after = Path("c/journal.jsonl").read_bytes()
    assert after.startswith(before) and after.count(b"\n") == 9


def test_the_truth_is_opened_when_all_searches_are_over(tmp_path: Path) -> None:
    sealed = write(tmp_path, test=np.full(5**6, np.nan))
    outcome = hwnas(*arguments(sealed), "--seeds", 2, "--out", "c")
    assert outcome.code == 2 and "has no 'test'" in outcome.stderr
    assert len(Journal(Path("c/journal.jsonl")).records) == 6
    write(tmp_path)
    assert hwnas(*arguments(sealed), "--seeds", 2, "--out", "c").code == 0


def test_a_setting_may_be_of_one_strategy_alone(table: Path) -> None:
    found = told(hwnas(*arguments(table), "--seeds", 1, "--set", "nsga2.trials=12", "--json"))
    assert {o["strategy"]: o["queries"] for o in found["outcomes"]} == {
        "random": 30,
        "regularized-evolution": 30,
        "nsga2": 12,
    }


def test_a_strategy_may_be_a_file(table: Path, tmp_path: Path) -> None:
    import hwnas.search.strategies.random as ours

    (tmp_path / "mine.py").write_text(Path(ours.__file__).read_text().replace("class Random(", "class Mine("))
    command = arguments(table, "./mine.py,random")
    found = told(hwnas(*command, "--seeds", 1, "--set", "mine.trials=5", "--json"))
    assert {o["strategy"]: o["queries"] for o in found["outcomes"]} == {"mine": 5, "random": 30}


@pytest.mark.parametrize(
    ("changed", "code", "fragments"),
    [
        (("--strategy", "nsga3"), 2, ("no strategy 'nsga3'", "did you mean 'nsga2'?")),
        (("--space", "nasbench"), 2, ("no space 'nasbench'", "did you mean 'nasbench201'?")),
        (("--budget", "60%,fast"), 2, ("'fast' is not a latency", "12ms")),
        (("--target", "cpux"), 2, ("no target 'cpux'", "did you mean 'cpu'?")),
        (("--set", "nsga2.trial=1"), 2, ("'trial'", "did you mean 'trials'?")),
        (("--set", "guided.trials=1"), 2, ("'guided'",)),
        (("--set", "latency.device=bored"), 2, ("no device 'bored'", "board, phone")),
        (("--set", "latency.device=null"), 2, ("latency.device=NAME",)),
        (("--set", "estimator.column=unseen"), 2, ("no 'unseen'", "seen")),
        (("--seeds", "0"), 2, ("--seeds",)),
        (("--workers", "0"), 2, ("--workers",)),
        (("--budget", "60%,0.1ms"), 3, ("no network of the space fits 0.1 ms", "it reaches 0.5")),
        (("--budget", "60%@p90"), 2, ("percentiles", "without @p90")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage(table: Path, changed: tuple[str, ...], code: int, fragments: tuple[str, ...]) -> None:
    outcome = hwnas(*arguments(table), *changed)
    assert outcome.code == code, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert all(fragment in outcome.stderr for fragment in fragments), outcome.stderr
    assert not Path("runs").exists()  # nothing was begun


def test_a_folder_in_use(table: Path) -> None:
    lock = held(Path("c"))
    outcome = hwnas(*arguments(table), "--out", "c")
    lock.release()
    assert outcome.code == 2 and "in use" in outcome.stderr


def test_a_plan_is_told_and_nothing_done(table: Path) -> None:
    outcome = hwnas(*arguments(table), "--budget", "60%,40%", "--seeds", 2, "--dry-run")
    assert outcome.code == 0 and "12 searches" in outcome.stdout and "nsga2 40% seed 1" in outcome.stdout
    assert not Path("runs").exists()


def test_a_file_s_settings_are_of_the_strategy_it_names(table: Path) -> None:
    Path("c.yaml").write_text("strategy: {name: nsga2, population: 5}\nbudget: 40%\n")
    words = arguments(table, trials="nsga2.trials=7")
    command = [*words[:3], *words[5:], "--config", "c.yaml", "--seeds", 1, "--out", "c", "--json"]  # no --strategy
    found = told(hwnas(*command))
    assert [(o["strategy"], o["budget"], o["queries"]) for o in found["outcomes"]] == [
        ("random", "40%", 6),
        ("nsga2", "40%", 7),
    ]
    Path("c.yaml").write_text("strategy: 3\n")
    assert hwnas(*command).code == 2
