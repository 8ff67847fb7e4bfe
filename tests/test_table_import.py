"""Published look-up tables: read exactly, refused when impossible or garbled, and marked wherever they are used."""

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY, hwnas
from hypothesis import given, settings
from hypothesis import strategies as st
from proxyless_lut import proxyless_key, proxyless_yaml

from hwnas.core.errors import BadInput
from hwnas.latency.imports import READERS, import_table, tf_nas
from hwnas.latency.plain_sum import model_of
from hwnas.latency.table import LatencyTable, load_table
from hwnas.operators.opspec import OpSpec
from hwnas.spaces.mobile import Mobile, MobileSettings

DATA = Path(os.environ.get("HWNAS_DATA", "absent"))


def published(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"HWNAS_DATA holds no {name}")
    return DATA / name


def reloaded(table: LatencyTable, folder: Path) -> LatencyTable:
    table.save(folder / "table.json")
    again = load_table(folder / "table.json")
    assert again == table
    return again


def times(table: LatencyTable) -> dict[OpSpec, float]:
    return {OpSpec.parse(key): entry.median_ms for key, entry in table.entries.items()}


# --- Per-block YAML: ProxylessNAS and Once-for-All -------------------------------------------------------------------


def test_proxylessnas_covers_the_mobile_space(tmp_path: Path) -> None:
    space = Mobile(MobileSettings(), channels=3, classes=10)
    content = proxyless_yaml(space)
    file = tmp_path / "mobile.yaml"
    file.write_text(yaml.safe_dump(content))
    table = reloaded(import_table(file, "proxylessnas", "us", "pixel", "Pixel 1"), tmp_path)
    assert {proxyless_key(spec): ms for spec, ms in times(table).items()} == pytest.approx(
        {key: facts["mean"] / 1e3 for key, facts in content.items()}
    )
    model, arch = model_of(space, table), space.reference()
    expected = sum(content[proxyless_key(spec)]["mean"] for spec in space.ops(arch)) / 1e3
    assert model.predict(arch) == pytest.approx(expected)
    assert model.predict_p95(arch) == model.predict(arch)
    with pytest.raises(BadInput, match="no percentiles"):
        model_of(space, table, "p90")
    with pytest.raises(BadInput, match="has no time for") as caught:
        model_of(Mobile(MobileSettings(), channels=3, classes=11), table)
    assert "hwnas profile" not in caught.value.mend


@pytest.mark.parametrize(
    ("format_", "key", "expected"),
    [
        (
            "proxylessnas",
            "expanded_conv-input:112x112x16-output:56x56x24-expand:6-kernel:3-stride:2-idskip:0",
            "mbconv(act=relu6,expand=6,kernel=3,out=24,se=false,stride=2)@16x112x112",
        ),
        (
            "proxylessnas",  # equal shapes without their shortcut
            "expanded_conv-input:28x28x40-output:28x28x40-expand:3-kernel:5-stride:1-idskip:0",
            "proxyless_block(act=relu6,expand=3,idskip=0,kernel=5,out=40,size=28x28,stride=1)@40x28x28",
        ),
        (
            "proxylessnas",
            "Conv-input:224x224x3-output:112x112x32",
            "conv(act=relu6,kernel=3,out=32,stride=2)@3x224x224",
        ),
        ("proxylessnas", "Logits-input:7x7x1280-output:1000", "classifier(classes=1000)@1280x7x7"),
        (
            "once-for-all",
            "expanded_conv-input:40x40x32-output:40x40x32-expand:96-kernel:5-stride:1-idskip:1-se:1-hs:1",
            "mbconv(act=hardswish,expand=3,kernel=5,out=32,se=true,stride=1)@32x40x40",
        ),
        (
            "once-for-all",
            "expanded_conv-input:40x40x24-output:20x20x32-expand:100-kernel:5-stride:2-idskip:0-se:0-hs:0",
            "ofa_block(act=relu,idskip=0,kernel=5,mid=100,out=32,se=false,size=20x20,stride=2)@24x40x40",
        ),
        ("once-for-all", "AvgPool2D-input:7x7x960-output:1x1x960", "ofa_pool(out=960)@960x7x7"),
        ("once-for-all", "Logits-input:1x1x1280-output:1000", "ofa_linear(out=1000)@1280x1x1"),
    ],
)
def test_blocks_that_mean_the_same_get_our_key(tmp_path: Path, format_: str, key: str, expected: str) -> None:
    file = tmp_path / "lut.yaml"
    file.write_text(yaml.safe_dump({key: {"mean": 1.5}}))
    assert list(import_table(file, format_, "ms", "a").entries) == [expected]


# --- The published files ---------------------------------------------------------------------------------------------


def fbnet_cell(spec: OpSpec) -> tuple[int, str]:
    """(layer, operator) as FBNet's tables name them."""
    facts = spec.attributes()
    if spec.kind == "fbnet_block":
        return facts["layer"], "k{kernel}_e{expand}".format(**facts) + ("_g2" if facts["groups"] == 2 else "")
    return facts.get("layer", 0), spec.kind.removeprefix("fbnet_")


def test_fbnet(tmp_path: Path) -> None:
    file = published("lut_fbnet_cpu/lookup_table.txt")
    table = reloaded(import_table(file, "fbnet", "us", "fbnet-cpu", "an unnamed CPU"), tmp_path)
    lines = file.read_text().splitlines()
    found = {fbnet_cell(spec): 1e3 * ms for spec, ms in times(table).items()}
    names = [name.removeprefix("ir_").replace("_s2", "_e1_g2") for name in lines[0].split()]
    rows = [dict(zip(names, map(float, line.split()), strict=True)) for line in lines[1:]]
    assert found == pytest.approx({(layer, name): us for layer, row in enumerate(rows, 1) for name, us in row.items()})
    key = "fbnet_block(expand=6,groups=1,kernel=5,layer=22,out=352,stride=1)@184x7x7"
    assert 1e3 * table.entries[key].median_ms == pytest.approx(float(lines[22].split()[7]))
    grouped = "fbnet_block(expand=1,groups=2,kernel=3,layer=2,out=24,stride=2)@16x112x112"
    assert 1e3 * table.entries[grouped].median_ms == pytest.approx(float(lines[2].split()[1]))


def test_hw_nas_bench(tmp_path: Path) -> None:
    file = published("latency_help/fbnet_hwnasbench_lut_recovered.json")
    content, names = (json.loads(file.read_text())[key] for key in ("devices", "op_names"))
    for device in ("pixel3", "raspi4", "eyeriss"):
        table = reloaded(import_table(file, "hw-nas-bench", "ms", "a", device), tmp_path)
        found = {fbnet_cell(spec): ms for spec, ms in times(table).items()}
        assert found.pop((0, "base")) == content[device]["base_ms"]
        rows = enumerate(content[device]["op_ms_relative_to_skip"], start=1)
        cells = {(layer, name): ms for layer, row in rows for name, ms in zip(names, row, strict=True)}
        assert found == {cell: ms for cell, ms in cells.items() if cell[1] != "skip"}
    # The FPGA's base is the least squares' rounding, below zero: nothing that a device can take.
    with pytest.raises(BadInput, match="1 of 177 times are impossible"):
        import_table(file, "hw-nas-bench", "ms", "a", "fpga")
    assert import_table(file, "hw-nas-bench", "ms", "a", "fpga", drop_impossible=True).imported.dropped == 1  # type: ignore[union-attr]
    with pytest.raises(BadInput, match="no device ''") as caught:
        import_table(file, "hw-nas-bench", "ms", "a")
    assert "eyeriss" in caught.value.mend


@pytest.mark.parametrize(("device", "impossible"), [("cpu", 84), pytest.param("gpu", 88, marks=pytest.mark.slow)])
def test_tf_nas(tmp_path: Path, device: str, impossible: int) -> None:
    file = published(f"lut_tfnas/latency_{device}.json.gz")
    with pytest.raises(BadInput, match=f"{impossible} of 36481 times are impossible") as caught:
        import_table(file, "tf-nas", "ms", "a")
    assert "--drop-impossible" in caught.value.mend
    table = import_table(file, "tf-nas", "ms", "a", drop_impossible=True)
    assert table.imported is not None
    assert table.imported.dropped == impossible
    table = reloaded(table, tmp_path)
    content = json.loads(gzip.decompress(file.read_bytes()))
    found: dict[str, dict[int, float]] = {}
    for spec, ms in times(table).items():
        if spec.kind == "tfnas_base":
            assert ms == content["base"]
            continue
        f, (channels, size, _) = spec.attributes(), spec.input_shape
        key = f"MBInvertedResBlock_{size}_{channels}_{f['se']}_{f['out']}_k{f['kernel']}_s{f['stride']}_{f['act']}"
        found.setdefault(key, {})[f["mid"]] = ms
    for key, widths in content.items():
        if key != "base":
            assert found.pop(key) == {i: ms for i, ms in enumerate(widths, start=1) if ms > 0}
    assert not found


# --- What is refused -------------------------------------------------------------------------------------------------

LINE = " ".join(["1.0"] * 9)
NAMES = "ir_k3_e1 ir_k3_s2 ir_k3_e3 ir_k3_e6 ir_k5_e1 ir_k5_s2 ir_k5_e3 ir_k5_e6 skip"
KEY = "expanded_conv-input:28x28x40-output:28x28x40-expand:3-kernel:5-stride:1-idskip:1"
HW = {"op_names": ["k3_e1", "skip"], "dataset": "cifar100", "devices": {"d": {"base_ms": 1.0}}}


def _zip(content: Any) -> bytes:
    return gzip.compress(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("format_", "content"),
    [
        ("fbnet", b""),
        ("fbnet", b"\xff\xfe\x00"),
        ("fbnet", f"{NAMES}\n".encode() + f"{LINE}\n".encode() * 21),
        ("fbnet", f"{NAMES}\n".encode() + f"{LINE} 1.0\n".encode() * 22),
        ("fbnet", f"{NAMES}\n".encode() + f"{LINE[:-3]}one\n".encode() * 22),
        ("fbnet", f"{NAMES.replace('skip', 'rest')}\n".encode() + f"{LINE}\n".encode() * 22),
        ("fbnet", f"{NAMES.replace('ir_k5_e6', 'ir_k5_e3')}\n".encode() + f"{LINE}\n".encode() * 22),
        ("proxylessnas", b""),
        ("proxylessnas", b"[1, 2]"),
        ("proxylessnas", b"{" * 100_000),
        ("proxylessnas", b"!!python/object/apply:os.system ['true']"),
        ("proxylessnas", b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
        ("proxylessnas", f"{KEY}: 1.0".encode()),
        ("proxylessnas", f"{KEY}: {{mean: fast}}".encode()),
        ("proxylessnas", f"{KEY}: {{mean: true}}".encode()),
        ("proxylessnas", f"{KEY}-se:0-hs:0: {{mean: 1.0}}".encode()),
        ("proxylessnas", f"{KEY}-idskip:1: {{mean: 1.0}}".encode()),
        ("proxylessnas", KEY.replace("28x28x40", "0x28x40").encode() + b": {mean: 1.0}"),
        ("proxylessnas", b"Conv_9-input:28x28x40-output:28x28x40: {mean: 1.0}"),
        ("once-for-all", f"{KEY}: {{mean: 1.0}}".encode()),
        ("hw-nas-bench", b"{}"),
        ("hw-nas-bench", b"[" * 100_000),
        ("hw-nas-bench", json.dumps(HW | {"dataset": "ImageNet"}).encode()),
        ("hw-nas-bench", json.dumps(HW).encode()),
        ("tf-nas", b"{}"),
        ("tf-nas", gzip.compress(b"{")),
        ("tf-nas", _zip({"base": 1.0})[:-9]),
        ("tf-nas", _zip([])),
        ("tf-nas", _zip({"base": 1.0, "MBInvertedResBlock_1_1_0_1_k3_s1_relu": 1.0})),
        ("tf-nas", _zip({"base": 1.0, "../../etc/passwd": [1.0]})),
        ("tf-nas", _zip({"base": "1.0"})),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
def test_a_garbled_file_is_refused(tmp_path: Path, format_: str, content: bytes) -> None:
    file = tmp_path / "lut"
    file.write_bytes(content)
    with pytest.raises(BadInput):
        import_table(file, format_, "ms", "a", "d", drop_impossible=True)


@pytest.mark.parametrize("value", ["0", "-1.0", ".nan", ".inf", "60000", "1" + "0" * 400])
def test_impossible_times_are_refused_or_dropped(tmp_path: Path, value: str) -> None:
    file = tmp_path / "lut.yaml"
    other = KEY.replace("expand:3", "expand:6")
    file.write_text(f"{KEY}: {{mean: {value}}}\n{other}: {{mean: 2.0}}\n")
    with pytest.raises(BadInput, match="1 of 2 times are impossible"):
        import_table(file, "proxylessnas", "ms", "a")
    table = import_table(file, "proxylessnas", "ms", "a", drop_impossible=True)
    assert table.imported is not None
    assert (table.imported.dropped, len(table.entries)) == (1, 1)


@settings(max_examples=200, deadline=None)
@given(format_=st.sampled_from(sorted(READERS)), content=st.binary(max_size=200))
def test_noise_is_refused(tmp_path_factory: pytest.TempPathFactory, format_: str, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "noise"
    file.write_bytes(content)
    with pytest.raises(BadInput):
        import_table(file, format_, "ms", "a", "d", drop_impossible=True)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf_nas, "MOST_UNPACKED", 1 << 20)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
        for _ in range(64):
            file.write(b" " * (1 << 20))
    (tmp_path / "bomb.gz").write_bytes(buffer.getvalue())
    with pytest.raises(BadInput, match="unpacks to more than"):
        import_table(tmp_path / "bomb.gz", "tf-nas", "ms", "a")


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(BadInput, match="more than"):
        import_table(tmp_path / "large", "fbnet", "us", "a")
    with pytest.raises(BadInput, match="regular"):
        import_table(tmp_path, "fbnet", "us", "a")


# --- At the command line, and in a search ----------------------------------------------------------------------------


@pytest.fixture
def lut(bare: Path, tiny_space: Mobile) -> Path:
    file = bare / "pixel.yaml"
    file.write_text(yaml.safe_dump(proxyless_yaml(tiny_space)))
    return file


IMPORT = ("table", "import", "pixel.yaml", "--format", "proxylessnas", "--as", "pixel", "--device", "Pixel 1")


def test_the_unit_is_asked_for(lut: Path) -> None:
    outcome = hwnas(*IMPORT)
    assert outcome.code == 2
    assert "--unit" in outcome.stderr
    assert hwnas(*IMPORT, "--unit", "s").code == 2
    assert not Path("latency_tables").exists()


def test_a_name_that_is_taken_is_refused(lut: Path) -> None:
    outcome = hwnas(*IMPORT, "--unit", "ms", "--as", "cpu")
    assert outcome.code == 2
    assert "--as" in outcome.stderr
    assert hwnas(*IMPORT, "--unit", "ms", "--as", "../cpu").code == 2


def test_a_search_on_an_imported_table_says_so_everywhere(lut: Path) -> None:
    outcome = hwnas(*IMPORT, "--unit", "ms", "--json")
    assert outcome.code == 0, outcome.stderr
    assert json.loads(outcome.stdout.splitlines()[-1])["dropped"] == 0
    assert hwnas(*IMPORT, "--unit", "ms").code == 0  # once more replaces it
    mark = "not measured here: imported from pixel.yaml (proxylessnas, device: Pixel 1)"
    assert mark in hwnas("table", "show", "pixel").stdout
    shown = json.loads(hwnas("table", "show", "pixel", "--json").stdout.splitlines()[-1])
    assert shown["imported"]["unit"] == "ms"
    assert shown["fingerprint"]["identity"] == {"device": "Pixel 1"}

    search = ("search", "--config", "tiny.yaml", "--budget", "85%", "--target", "pixel", "--out", "r", "--json")
    outcome = hwnas(*search)
    assert outcome.code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["latency_origin"] == mark
    assert result["within_budget"] is None
    assert result["measured_ms"] is None
    assert result["predicted_ms"] == result["predicted_ms_p95"] <= result["budget_ms"]
    assert mark in outcome.stdout.split("run directory")[0]  # the summary
    assert mark in outcome.stderr

    assert hwnas("report", "r").code == 0
    assert mark in Path("r/report.html").read_text()
    outcome = hwnas("explain", "r", "--json")
    assert mark in json.loads(outcome.stdout)["note"]
    assert f"take care: {mark}" in hwnas("explain", "r").stdout

    again = hwnas(*search)
    assert json.loads(again.stdout.splitlines()[-1]) == result


def test_nothing_is_shipped_for_a_target_that_cannot_be_measured(lut: Path) -> None:
    assert hwnas(*IMPORT, "--unit", "ms").code == 0
    outcome = hwnas("run", "--config", "tiny.yaml", "--target", "pixel", "--out", "r")
    assert outcome.code == 4
    assert "nothing can be measured on 'pixel'" in outcome.stderr
    assert not Path("r/bundle").exists()
    assert json.loads(Path("r/result.json").read_text())["within_budget"] is None
    for verb in (("profile",), ("measure", "pixel.yaml")):
        assert hwnas(*verb, "--target", "pixel").code == 4
    (target,) = [t for t in json.loads(hwnas("targets", "--json").stdout.splitlines()[-1]) if t["name"] == "pixel"]
    assert not target["available"]
    assert target["table"]


def test_a_space_that_the_table_does_not_cover(lut: Path) -> None:
    assert hwnas(*IMPORT, "--unit", "ms").code == 0
    outcome = hwnas(
        "search", "--config", "tiny.yaml", "--target", "pixel", "--set", "space.head_width=40", "--out", "r"
    )
    assert outcome.code == 2
    assert "has no time for" in outcome.stderr
    assert TINY["space"]["head_width"] != 40
