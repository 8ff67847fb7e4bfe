"""Comparing and merging tables."""

import json
from pathlib import Path

import pytest
import report_run
from conftest import hwnas

from hwnas.core.errors import BadInput
from hwnas.latency.compare import compare
from hwnas.latency.imports import import_table
from hwnas.latency.merge import merge
from hwnas.latency.table import Entry, LatencyTable, load_table

OLD, NEW = report_run.NOW, "2025-02-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return report_run.table(report_run.space())


def with_entries(table: LatencyTable, entries: dict[str, Entry]) -> LatencyTable:
    return table.model_copy(update={"entries": entries})


def scaled(entry: Entry, factor: float, **update: object) -> Entry:
    times = {name: factor * getattr(entry, name) for name in ("median_ms", "p10_ms", "p90_ms")}
    return entry.model_copy(update=times | update)


def test_a_table_does_not_differ_from_itself(table: LatencyTable) -> None:
    found = compare(table, table)
    assert (found.only_a, found.only_b, found.median, found.largest, found.beyond) == ([], [], 1, 1, 0)


def test_differences_are_counted_and_ranked(table: LatencyTable) -> None:
    first, second, third, *rest = sorted(table.entries)
    changed = {key: table.entries[key] for key in rest}
    changed[first] = scaled(table.entries[first], 0.25)
    changed[second] = scaled(table.entries[second], 3)
    changed["conv(act=relu,kernel=1,out=1,stride=1)@1x1x1"] = table.entries[third]
    found = compare(table, with_entries(table, changed))
    assert found.only_a == [third]
    assert len(found.only_b) == 1
    assert list(found.ratios)[:2] == [first, second]
    assert found.largest == pytest.approx(0.25)
    assert found.median == pytest.approx(1)
    assert found.beyond == pytest.approx(2 / (len(rest) + 2))
    assert found.errors["a"] == found.errors["b"] != {}


def test_within_the_spread_is_within_the_noise(table: LatencyTable) -> None:
    """p10 to p90 is 0.9 to 1.2 of the median."""
    near = with_entries(table, {key: scaled(entry, 1.1) for key, entry in table.entries.items()})
    assert compare(table, near).beyond == 0


def test_the_noise_of_an_imported_table_is_unknown(table: LatencyTable, tmp_path: Path) -> None:
    file = tmp_path / "lut.yaml"
    file.write_text("expanded_conv-input:8x8x8-output:8x8x8-expand:3-kernel:3-stride:1-idskip:1: {mean: 1.0}")
    imported = import_table(file, "proxylessnas", "ms", "a")
    found = compare(table, imported)
    assert found.ratios
    assert found.beyond is None
    assert "unknown" in found.text()
    with pytest.raises(BadInput, match="imported"):
        merge(table, imported)


def test_the_one_with_more_samples_then_the_newer_is_kept(table: LatencyTable) -> None:
    more, newer, equal, only_a, *rest = sorted(table.entries)
    entries = {key: entry for key, entry in table.entries.items() if key != only_a}
    entries[more] = scaled(table.entries[more], 2, samples=200)
    entries[newer] = scaled(table.entries[newer], 2, measured_at=NEW)
    entries[rest[0]] = scaled(table.entries[rest[0]], 2, samples=10, measured_at=NEW)
    b = with_entries(table, entries)
    for merged in (merge(table, b), merge(b, table)):
        assert merged.table.entries.keys() == table.entries.keys()
        assert merged.table.entries[more] == entries[more]
        assert merged.table.entries[newer] == entries[newer]
        assert merged.table.entries[equal] == table.entries[equal]
        assert merged.table.entries[rest[0]] == table.entries[rest[0]]
    taken = merge(table, b).taken
    assert (taken[more], taken[newer], taken[rest[0]]) == ("b", "b", "a")
    assert only_a not in taken


def test_a_calibration_holds_while_its_operators_stand(table: LatencyTable) -> None:
    (space,) = table.calibration
    first, *rest = sorted(table.entries)
    more = with_entries(table, {first: scaled(table.entries[first], 1, samples=500)})
    without = more.model_copy(update={"calibration": {}})
    assert merge(table, with_entries(table, {})).table.calibration == table.calibration
    outcome = merge(table, without)
    assert outcome.table.calibration == {}
    assert outcome.dropped == [space]
    newer = table.calibration[space].model_copy(update={"measured_at": NEW})
    both = merge(table, table.model_copy(update={"calibration": {space: newer}}))
    assert both.table.calibration[space].measured_at == NEW
    assert rest


def test_tables_that_do_not_belong_together(table: LatencyTable) -> None:
    other = report_run.table(report_run.space(), report_run.IDENTITY | {"threads": 2})
    with pytest.raises(BadInput, match="threads: 1 in a, 2 in b"):
        merge(table, other)
    with pytest.raises(BadInput, match="protocol"):
        merge(table, table.model_copy(update={"protocol_sha256": "0" * 64}))


def test_the_verbs(bare: Path, table: LatencyTable) -> None:
    entries = dict(table.entries)
    key = sorted(entries)[0]
    entries[key] = scaled(entries[key], 2, samples=500)
    table.save(bare / "latency_tables" / "a.json")
    with_entries(table, entries).save(bare / "b.json")

    outcome = hwnas("table", "diff", "a", "b.json", "--json")
    assert outcome.code == 0, outcome.stderr
    facts = json.loads(outcome.stdout.splitlines()[-1])
    assert facts["largest"] == pytest.approx(2)
    assert facts["errors"]["a"]

    outcome = hwnas("table", "merge", "a", "b.json", "-o", "c.json", "--json")
    assert outcome.code == 0, outcome.stderr
    facts = json.loads(outcome.stdout.splitlines()[-1])
    assert facts["taken"][key] == "b"
    assert "1 from b.json" in outcome.stdout
    assert load_table(bare / "c.json").entries == entries

    assert hwnas("table", "show", "c.json").code == 0
    assert hwnas("table", "diff", "a", "absent").code == 2
    assert hwnas("table", "merge", "a", "b.json").code == 2  # where to?
