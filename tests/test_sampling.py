"""`profile.most_operators`: some operators are timed, those predicted worst first, and the others predicted."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import hwnas
from test_unmeasured import blocks, power_law_ms, simulated_ms, timed

from hwnas.core.errors import BadInput
from hwnas.latency.sampling import next_batch, sample
from hwnas.latency.table import Entry, load_table
from hwnas.latency.turns import Turns
from hwnas.operators.opspec import OpSpec
from hwnas.testing import simulated

OPERATORS, RARE = 22, 3
"""Of the tiny space, and those of a kind that has too few to predict any."""
PROFILE = ("profile", "--config", "tiny.yaml", "--target", "device.yaml")
FEW = ("--set", "profile.most_operators=15", "--set", "profile.tolerance=0.001")


def timing(law, times: list[OpSpec], entries: dict[str, Entry]):
    def time(batch: list[OpSpec]) -> dict[str, Entry]:
        times.extend(batch)
        entries.update(timed(batch, law))
        return entries

    return time


def test_a_smooth_law_needs_few_and_the_limit_holds():
    for law, tolerance, expected in ((power_law_ms, 0.02, range(8, 16)), (simulated_ms, 1e-6, range(30, 31))):
        times: list[OpSpec] = []
        found = sample(blocks(), {}, 30, tolerance, timing(law, times, {}))
        assert len(times) == len(set(times)) and len(times) in expected
        assert found.keys() == {str(spec) for spec in blocks()}
        assert sum(not e.predicted for e in found.values()) == len(times)
        errors = [abs(found[str(spec)].median_ms / law(spec) - 1) for spec in blocks()]
        assert np.mean(errors) < 0.03


def test_the_first_are_spread_to_the_corners():
    first = next_batch(blocks(), {}, 30, 0.05)
    assert len(first) == 8
    for values in ({3, 7}, {1, 6}, {1, 2}):
        name = {3: "kernel", 6: "expand", 2: "stride"}[sorted(values)[-1] if 7 not in values else 3]
        assert values <= {spec.attributes()[name] for spec in first}


def test_what_is_predicted_worst_is_timed_next():
    """One island of operators is far from all others: it is not left to the regressor."""
    near = blocks(32)
    far = [spec for spec in blocks(32, widths=(16, 24, 40, 96, 192)) if spec not in near]
    entries = timed(near, simulated_ms)
    assert set(next_batch(near + far, entries, 200, 0.001)) <= set(far)


def test_too_small_a_limit_says_what_it_takes():
    with pytest.raises(BadInput, match="too few") as error:
        next_batch(blocks(), {}, 5, 0.05)
    assert "most_operators=8" in error.value.mend
    assert len(next_batch(blocks(), {}, 8, 0.05)) == 8


def test_predicted_entries_do_not_count_as_timed():
    known = blocks()[::2]
    found = sample(blocks(), timed(known, simulated_ms), len(known), 0.01, lambda batch: pytest.fail("timed"))
    times: list[OpSpec] = []
    sample(blocks(), found, len(known) + 5, 1e-6, timing(simulated_ms, times, dict(found)))
    assert len(times) == 5 and not set(times) & set(known)


def test_the_same_command_has_nothing_left_to_do_but_predict_the_same():
    times: list[OpSpec] = []
    found = sample(blocks(), {}, 30, 0.02, timing(power_law_ms, times, {}))
    assert sample(blocks(), found, 30, 0.02, lambda batch: pytest.fail("timed")) == found


@pytest.fixture
def device(bare: Path) -> Path:
    """A simulated device as a target, in a folder with tiny.yaml; its table's path."""
    target = {"name": "device", "runtime": str(simulated.__file__), "options": {"noise": 0.02}}
    (bare / "device.yaml").write_text(yaml.safe_dump(target))
    return bare / "latency_tables" / "device.json"


def test_a_profile_of_some_operators(device: Path):
    outcome = hwnas(*PROFILE, *FEW, "--json")
    assert outcome.code == 0, outcome.stderr
    assert json.loads(outcome.stdout.splitlines()[-1])["predicted"] == OPERATORS - 15
    table = load_table(device)
    assert sum(e.predicted for e in table.entries.values()) == OPERATORS - 15
    assert not any(e.predicted for key, e in table.entries.items() if not key.startswith("mbconv"))
    assert hwnas("table", "show", "device").stdout.count("predicted") == OPERATORS - 15
    before = device.read_bytes()
    assert hwnas(*PROFILE, *FEW).code == 0
    assert device.read_bytes() == before


def test_without_being_asked_what_was_predicted_is_timed(device: Path):
    assert hwnas(*PROFILE, *FEW).code == 0
    predicted = load_table(device)
    assert f"{OPERATORS - 15} operators and 0 whole networks" in hwnas(*PROFILE, "--dry-run").stdout
    assert hwnas(*PROFILE).code == 0
    table = load_table(device)
    assert not any(e.predicted for e in table.entries.values())
    for key, e in predicted.entries.items():
        assert e.predicted or table.entries[key] == e
    (before,), (after,) = predicted.calibration.values(), table.calibration.values()
    assert after.fitted == before.fitted and after.error != before.error


def test_a_search_on_predicted_operators_says_so(device: Path):
    outcome = hwnas(
        *("search", "--config", "tiny.yaml", "--target", "device.yaml", "--strategy", "random", "--out", "run"),
        *("--set", "profile.most_operators=15", "--set", "strategy.trials=1", "--json"),
    )
    assert outcome.code == 0, outcome.stderr
    count = json.loads(outcome.stdout.splitlines()[-1])["predicted_operators"]
    assert 0 < count <= OPERATORS - 11
    assert f"{count} of the space's operators were predicted" in outcome.stderr
    assert f"{count} of the space's operators were predicted" in outcome.stdout


class Killed(BaseException): ...


@pytest.mark.parametrize("limit", [5, 2 * (8 + RARE) + 3])
def test_killed_in_the_middle_of_a_batch_nothing_is_timed_twice(device: Path, monkeypatch, limit: int):
    turns: list[tuple[str, int]] = []

    def record(self: Turns, key: str, number: int, samples_ns: list[int]) -> None:
        if len(turns) == limit:
            raise Killed
        turns.append((key, number))
        self.journal.append("turn", key=key, round=number, samples_ns=samples_ns)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Turns, "record", record)
        hwnas(*PROFILE, *FEW)
    first = list(turns)
    limit = 10**9
    monkeypatch.setattr(Turns, "record", record)
    assert hwnas(*PROFILE, *FEW).code == 0
    assert len(first) >= 5 and len(turns) == len(set(turns))
    assert sum(not e.predicted for e in load_table(device).entries.values()) == 15


@pytest.mark.parametrize("field", ["samples", "rounds"])
def test_a_table_that_confuses_timed_and_predicted_is_refused(device: Path, field: str):
    assert hwnas(*PROFILE).code == 0
    table = load_table(device)
    key, first = next(iter(table.entries.items()))
    for changed in (first.model_copy(update={field: 0}), first.model_copy(update={"predicted": True})):
        table.model_copy(update={"entries": table.entries | {key: changed}}).save(device)
        with pytest.raises(BadInput, match="timed or predicted"):
            load_table(device)
