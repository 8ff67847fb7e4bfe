"""The spaces of published look-up tables: an imported table prices their networks exactly, and drives a search."""

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import hwnas
from small_data import write_cifar10_binary

from hwnas.core.arch import Arch
from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.latency.imports import import_table
from hwnas.latency.plain_sum import model_of
from hwnas.operators import output_shape
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space

DATA = Path(os.environ.get("HWNAS_DATA", "absent"))
TFNAS = "lut_tfnas/latency_cpu.json.gz"
IMPORT = ("table", "import", "--as", "theirs")
FBNET, HELP = "lut_fbnet_cpu/lookup_table.txt", "latency_help/fbnet_hwnasbench_lut_recovered.json"


def published(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"HWNAS_DATA holds no {name}")
    return DATA / name


def open_space(name: str, classes: int = 1000, **settings: Any) -> Space:
    plugin = load("spaces", name)
    return plugin(validate(plugin.Settings, settings, "space"), channels=3, classes=classes)


def some(space: Space, count: int = 40) -> list[Arch]:
    rng = random.Random(0)
    return [space.reference(), *(space.random(rng) for _ in range(count))]


# --- A network's prediction is the published sum ---------------------------------------------------------------------


@pytest.mark.parametrize("device", ["pixel3", "raspi4", "eyeriss"])
def test_hw_nas_bench_to_the_last_digit(device: str) -> None:
    """Its 5000 networks, whose latencies it publishes as sums."""
    table = import_table(published(HELP), "hw-nas-bench", "ms", "a", device)
    model = model_of(open_space("fbnet", 100, form="cifar100"), table)
    with np.load(published("latency_help/fbnet_latency_ms.npz")) as truth:
        archs, devices, latency_ms = truth["op_index"], truth["devices"].astype(str).tolist(), truth["latency_ms"]
    assert np.allclose(model.predict_many(archs), latency_ms[devices.index(device)], rtol=0, atol=1e-9)
    arch = tuple(archs[0].tolist())
    assert sum(ms for _, ms in model.breakdown(arch)) == pytest.approx(latency_ms[devices.index(device)][0])


def test_fbnet() -> None:
    table = import_table(published(FBNET), "fbnet", "us", "a")
    space = open_space("fbnet", form="paper")
    names, *rows = (line.split() for line in published(FBNET).read_text().splitlines())
    column = {name.removeprefix("ir_").replace("_s2", "_e1_g2"): place for place, name in enumerate(names)}
    model = model_of(space, table)
    for arch in some(space):
        blocks = zip(rows, space.describe(arch).values(), strict=True)
        assert model.predict(arch) == pytest.approx(sum(float(row[column[name]]) for row, name in blocks) / 1e3)
    assert "without stem and head" in table.origin


@pytest.mark.parametrize("expansions", [(3, 6), (2, 3.5, 4, 7.9)])
def test_tf_nas(expansions: tuple[float, ...]) -> None:
    file = published(TFNAS)
    table = import_table(file, "tf-nas", "ms", "a", drop_impossible=True)
    space = open_space("tfnas", form="paper", expansions=expansions)
    content = json.loads(gzip.decompress(file.read_bytes()))

    def published_ms(spec: OpSpec) -> float:
        f, (channels, size, _) = spec.attributes(), spec.input_shape
        key = f"MBInvertedResBlock_{size}_{channels}_{f['se']}_{f['out']}_k{f['kernel']}_s{f['stride']}_{f['act']}"
        return content[key][f["mid"] - 1]

    model = model_of(space, table)
    for arch in some(space):
        chosen = [c.spec for c in space.conditions(arch) if c.when]
        assert 6 <= len(chosen) <= 18
        assert model.predict(arch) == pytest.approx(content["base"] + sum(map(published_ms, chosen)))


def test_once_for_all(tmp_path: Path) -> None:
    """No table of it is at hand: one of our making, in its keys."""
    space, rng = open_space("ofa", form="paper"), random.Random(0)
    content = {ofa_key(c.spec): {"mean": rng.uniform(0.1, 2), "count": 60} for c in space.operators()}
    (tmp_path / "ofa.yaml").write_text(yaml.safe_dump(content))
    model = model_of(space, import_table(tmp_path / "ofa.yaml", "once-for-all", "ms", "a"))
    for arch in some(space):
        expected = sum(content[ofa_key(spec)]["mean"] for spec in space.ops(arch))
        assert model.predict(arch) == pytest.approx(expected)
        assert 10 + 6 <= len(space.ops(arch)) <= 20 + 6


def ofa_key(spec: OpSpec) -> str:
    """As in https://github.com/mit-han-lab/once-for-all: height × width × channels."""
    f, out, channels = spec.attributes(), output_shape(spec), spec.input_shape[0]
    shapes = "-".join(
        f"{side}:{'x'.join(map(str, (*s[1:], s[0])))}" for side, s in (("input", spec.input_shape), ("output", out))
    )
    names = {"ofa_pool": "AvgPool2D", "ofa_mix": "Conv_2", "ofa_linear": "Logits"}
    if spec.kind != "mbconv":
        return f"{names.get(spec.kind) or ('Conv' if f['kernel'] == 3 else 'Conv_1')}-{shapes}"
    skip, hs = int(out == spec.input_shape), int(f["act"] == "hardswish")
    middle = channels * f["expand"]
    return (
        f"expanded_conv-{shapes}-expand:{middle}-kernel:{f['kernel']}-stride:{f['stride']}-idskip:{skip}"
        f"-se:{int(f['se'])}-hs:{hs}"
    )


# --- What a table does not hold is refused, and nothing else is left out ----------------------------------------------


def test_another_form_or_channel_count_is_refused() -> None:
    table = import_table(published(HELP), "hw-nas-bench", "ms", "a", "pixel3")
    with pytest.raises(BadInput, match=r"no time for fbnet_block"):
        model_of(open_space("fbnet"), table)
    plugin = load("spaces", "fbnet")
    grey = plugin(validate(plugin.Settings, {"form": "cifar100"}, "space"), channels=1, classes=10)
    with pytest.raises(BadInput, match=r"no time for fbnet_base\(\)@1x32x32"):
        model_of(grey, table)
    with pytest.raises(BadInput, match="no time for"):
        model_of(open_space("mobile"), table)


def test_a_block_that_the_table_lacks_is_no_part_of_its_base() -> None:
    table = import_table(published(HELP), "hw-nas-bench", "ms", "a", "pixel3")
    space = open_space("fbnet", 100, form="cifar100")
    for lost in ("fbnet_block(expand=3,groups=1,kernel=5,layer=9,out=32,stride=1)@32x16x16", "fbnet_base()@3x32x32"):
        entries = {key: entry for key, entry in table.entries.items() if key != lost}
        assert len(entries) == len(table.entries) - 1
        with pytest.raises(BadInput, match="no time for") as caught:
            model_of(space, table.model_copy(update={"entries": entries}))
        assert lost in caught.value.what


# --- It drives a search ----------------------------------------------------------------------------------------------


@pytest.fixture
def colour(bare: Path) -> Callable[..., tuple[str, ...]]:
    """Arguments of a search as short as can be, on a hundred colour images."""
    write_cifar10_binary(bare / "images")

    def arguments(space: str, form: str, **settings: Any) -> tuple[str, ...]:
        content = {
            "space": {"name": space, "form": form, "weights": "shared"} | settings,
            "data": {"name": "cifar10", "dir": str(bare / "images"), "limit": 40},
            "search": {"epochs": 2, "batch_size": 16},
            "compute": {"device": "cpu", "threads": 1},
        }
        (bare / "tiny.yaml").write_text(yaml.safe_dump(content))
        return "search", "--config", "tiny.yaml", "--target", "theirs", "--out", "r", "--budget", "70%", "--json"

    return arguments


def says_so(outcome: Any, mark: str) -> dict[str, Any]:
    """Wherever a latency is shown."""
    assert outcome.code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["latency_origin"] == mark
    assert result["measured_ms"] is None and result["within_budget"] is None
    assert 0 < result["predicted_ms"] <= result["budget_ms"]
    assert mark in outcome.stdout.split("run directory")[0] and mark in outcome.stderr
    assert hwnas("report", "r").code == 0
    assert mark in Path("r/report.html").read_text()
    assert mark in hwnas("explain", "r").stdout
    assert mark in hwnas("table", "show", "theirs").stdout
    return result


def test_hw_nas_bench_drives_a_search(colour: Callable[..., tuple[str, ...]]) -> None:
    source = published(HELP)
    imported = hwnas(*IMPORT, source, "--format", "hw-nas-bench", "--unit", "ms", "--device", "pixel3")
    assert imported.code == 0, imported.stderr
    mark = "not measured here: imported from fbnet_hwnasbench_lut_recovered.json (hw-nas-bench, device: pixel3)"
    result = says_so(hwnas(*colour("fbnet", "cifar100")), mark)
    found = json.loads(source.read_text())
    names, content = list(found["op_names"]), found["devices"]["pixel3"]
    rows = zip(content["op_ms_relative_to_skip"], result["choices"].values(), strict=True)
    expected = content["base_ms"] + sum(row[names.index(name)] for row, name in rows)
    assert result["predicted_ms"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "file", "format_", "unit", "words"),
    [
        ("fbnet", FBNET, "fbnet", "us", "fbnet, device: a CPU, without stem and head"),
        ("tfnas", TFNAS, "tf-nas", "ms", "tf-nas, device: a CPU"),
    ],
)
def test_tables_at_224_pixels_drive_a_search(
    colour: Callable[..., tuple[str, ...]], space: str, file: str, format_: str, unit: str, words: str
) -> None:
    source = published(file)
    imported = hwnas(*IMPORT, source, "--format", format_, "--unit", unit, "--device", "a CPU", "--drop-impossible")
    assert imported.code == 0, imported.stderr
    says_so(hwnas(*colour(space, "paper")), f"not measured here: imported from {source.name} ({words})")
