"""A latency table that is damaged, impossible or another machine's is refused, and stays as it is on the disk."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import hwnas
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import BadInput
from hwnas.core.machine import cpu_name
from hwnas.latency.model import LatencyModel
from hwnas.latency.table import load_table
from hwnas.run.config import resolve

TIMES = ("median_ms", "p10_ms", "p90_ms")


@pytest.fixture(scope="session")
def text(finished: Path) -> bytes:
    return (finished / "latency_tables" / "cpu.json").read_bytes()


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "cpu.json"


def signed(content: dict[str, Any]) -> str:
    """As an honest writer would sign it, so that only the values can give it away. Writes NaN as Python does."""
    plain = {key: value for key, value in content.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return json.dumps(plain | {"sha256": digest}, indent=1, sort_keys=True) + "\n"


def refused(file: Path, content: bytes | str, what: str = ".") -> None:
    """Loading it is refused with a mend, and it is left as it was."""
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(data)
    with pytest.raises(BadInput, match=what) as error:
        load_table(file)
    assert error.value.mend
    assert file.read_bytes() == data


def test_the_table_itself_is_accepted_and_signed_as_this_test_signs(file: Path, text: bytes, tiny_space):
    file.write_bytes(text)
    assert signed(json.loads(text)).encode() == text
    assert LatencyModel(tiny_space, load_table(file)).predict(tiny_space.reference()) > 0


def test_truncated(file: Path, text: bytes):
    for cut in [*range(0, len(text) - 200, 13), *range(len(text) - 200, len(text))]:
        refused(file, text[:cut])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_flipped_byte(file: Path, text: bytes, data: st.DataObject):
    position = data.draw(st.integers(0, len(text) - 1))
    mask = data.draw(st.integers(1, 255))
    refused(file, text[:position] + bytes([text[position] ^ mask]) + text[position + 1 :])


@pytest.mark.parametrize("other", [b"\r", b"\r\n", b"\n\n", b"", b" \n"])
def test_other_line_ends(file: Path, text: bytes, other: bytes):
    for newline in list(re.finditer(b"\n", text))[::20]:
        refused(file, text[: newline.start()] + other + text[newline.end() :])


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"3", b"\xff\xfe", b"NaN"])
def test_what_is_no_table(file: Path, content: bytes):
    refused(file, content)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0, -1.0, None, "1.0", 1e9, True, [1]])
@pytest.mark.parametrize("field", TIMES)
def test_impossible_times(file: Path, text: bytes, field: str, value: object):
    content = json.loads(text)
    for key in list(content["entries"])[::7]:
        altered = json.loads(text)
        altered["entries"][key][field] = value
        refused(file, signed(altered), "cpu.json|refused")


@pytest.mark.parametrize("value", [float("nan"), 0, -0.01])
def test_impossible_whole_networks(file: Path, text: bytes, value: float):
    for part in ("fitted", "held_out"):
        altered = json.loads(text)
        (calibration,) = altered["calibration"].values()
        calibration[part][-1]["median_ms"] = value
        refused(file, signed(altered))


def test_percentiles_out_of_order(file: Path, text: bytes):
    for low, high in (("p10_ms", "median_ms"), ("median_ms", "p90_ms")):
        altered = json.loads(text)
        entry = next(iter(altered["entries"].values()))
        entry[low] = entry[high] * 1.01
        refused(file, signed(altered), "out of order")


def implausible(file: Path, space, content: dict[str, Any]) -> None:
    """Refused on loading, or by the model that is made of it."""
    file.write_text(signed(content))
    with pytest.raises(BadInput) as error:
        LatencyModel(space, load_table(file))
    assert "--fresh" in error.value.mend


def test_any_single_operator_a_thousand_times_too_slow(file: Path, text: bytes, tiny_space):
    for key in json.loads(text)["entries"]:
        altered = json.loads(text)
        for field in TIMES:
            altered["entries"][key][field] *= 1000
        implausible(file, tiny_space, altered)


def test_one_operator_that_no_measured_network_holds(file: Path, text: bytes, tiny_space):
    altered = json.loads(text)
    (calibration,) = altered["calibration"].values()
    for part in ("fitted", "held_out"):
        for network in calibration[part]:
            network["arch"][0] = 0
    for conditional in tiny_space.operators():
        if conditional.when == ((0, 5),):
            for field in TIMES:
                altered["entries"][str(conditional.spec)][field] *= 1000
    implausible(file, tiny_space, altered)


@pytest.mark.parametrize("factor", [1000, 0.001])
def test_every_operator_in_another_unit(file: Path, text: bytes, tiny_space, factor: float):
    altered = json.loads(text)
    for entry in altered["entries"].values():
        for field in TIMES:
            entry[field] *= factor
    implausible(file, tiny_space, altered)


@pytest.mark.parametrize("part", ["fitted", "held_out"])
@pytest.mark.parametrize("factor", [1000, 0.001])
def test_one_whole_network_in_another_unit(file: Path, text: bytes, tiny_space, part: str, factor: float):
    altered = json.loads(text)
    (calibration,) = altered["calibration"].values()
    calibration[part][1]["median_ms"] *= factor
    implausible(file, tiny_space, altered)


@pytest.mark.parametrize("arch", [[], [0], [0, 0, 99], [-1, 0, 0], [0, 0, 0, 0]])
def test_a_measured_network_of_another_space(file: Path, text: bytes, tiny_space, arch: list[int]):
    altered = json.loads(text)
    (calibration,) = altered["calibration"].values()
    calibration["fitted"][0]["arch"] = arch
    file.write_text(signed(altered))
    with pytest.raises(BadInput):
        LatencyModel(tiny_space, load_table(file))


def test_a_newer_schema(file: Path, text: bytes):
    refused(file, signed(json.loads(text) | {"schema_version": 2}), "newer")


@pytest.mark.parametrize("extra", [{"note": "mine"}, {"schema_version": "1.5"}, {"entries": []}, {"target": None}])
def test_unknown_keys_and_wrong_types(file: Path, text: bytes, extra: dict[str, Any]):
    refused(file, signed(json.loads(text) | extra))


def test_an_unknown_key_of_an_entry(file: Path, text: bytes):
    altered = json.loads(text)
    next(iter(altered["entries"].values()))["mean_ms"] = 1.0
    refused(file, signed(altered), "mean_ms")


def test_a_damaged_table_stops_every_command_and_stays(workspace: Path):
    table = workspace / "latency_tables" / "cpu.json"
    table.write_bytes(table.read_bytes()[:-40])
    before = table.read_bytes()
    for command in (
        ("search", "--config", "tiny.yaml", "--out", "r"),
        ("profile", "--config", "tiny.yaml"),
        ("table", "show"),
    ):
        outcome = hwnas(*command)
        assert outcome.code == 2
        assert "--fresh" in outcome.stderr
        assert table.read_bytes() == before


def move_to_another_machine(path: Path) -> None:
    content = json.loads(path.read_text())
    content["fingerprint"]["identity"]["device"] = "Another CPU x64"
    path.write_text(signed(content))


def test_a_changed_machine_is_profiled_anew_and_says_so(workspace: Path):
    table = workspace / "latency_tables" / "cpu.json"
    move_to_another_machine(table)
    outcome = hwnas("profile", "--config", "tiny.yaml")
    assert outcome.code == 0
    assert "the machine changed" in outcome.stderr
    assert "Another CPU x64" in outcome.stderr
    assert load_table(table).fingerprint.identity["device"] != "Another CPU x64"


@pytest.fixture
def named(workspace: Path) -> Path:
    """The table as that of a named device, measured elsewhere."""
    profile = resolve({}).target.model_dump() | {"name": "board", "device": "named"}
    (workspace / "profiles").mkdir()
    (workspace / "profiles" / "board.yaml").write_text(yaml.safe_dump(profile))
    table = workspace / "latency_tables" / "board.json"
    content = json.loads((workspace / "latency_tables" / "cpu.json").read_text()) | {"target": profile}
    table.write_text(signed(content))
    move_to_another_machine(table)
    return table


def test_another_devices_table_is_refused(named: Path):
    before = named.read_bytes()
    for command in (("search", "--out", "r"), ("profile",)):
        outcome = hwnas(*command, "--config", "tiny.yaml", "--target", "board")
        assert outcome.code == 2
        assert "Another CPU x64 in the table" in outcome.stderr
        assert "--allow-mismatch" in outcome.stderr
        assert named.read_bytes() == before


def test_another_devices_table_on_demand(named: Path):
    before = named.read_bytes()
    outcome = hwnas("run", "--config", "tiny.yaml", "--target", "board", "--out", "r", "--allow-mismatch", "--quiet")
    assert outcome.code == 0, outcome.stderr
    assert "warning: " in outcome.stderr
    assert "Another CPU x64" in outcome.stderr
    assert named.read_bytes() == before
    manifest = json.loads(Path("r/bundle/manifest.json").read_text())
    assert manifest["fingerprint"]["device"] == cpu_name()  # where it was measured
    (mismatch,) = manifest["table_mismatch"]
    assert "Another CPU x64 in the table" in mismatch


def test_a_bundle_of_this_machine_has_no_mismatch(finished: Path):
    assert json.loads((finished / "run" / "bundle" / "manifest.json").read_text())["table_mismatch"] == []


def test_what_another_devices_table_lacks_is_not_measured_here(named: Path):
    outcome = hwnas(
        *("search", "--config", "tiny.yaml", "--target", "board", "--out", "r", "--allow-mismatch"),
        *("--set", "space.head_width=40"),
    )
    assert outcome.code == 2
    assert "cannot be measured here" in outcome.stderr
