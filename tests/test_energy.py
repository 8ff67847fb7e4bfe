"""Energy meters on trees of /sys of paper."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import hwnas
from torch import nn

from hwnas.core.errors import Unavailable
from hwnas.core.target import load_target
from hwnas.deploy import energy
from hwnas.deploy.energy import Nvml, Rapl, energies_mj, meter_of
from hwnas.operators import onnx_graph

RANGE = 262_143_328_850


def zone(root: Path, name: str, label: str, energy_uj: int, range_uj: int = RANGE) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, one of whose parts and a memory-mapped double must not be counted again, and the platform."""
    root = tmp_path / "powercap"
    zone(root, "intel-rapl:0", "package-0", 1_000)
    zone(root, "intel-rapl:0:0", "core", 900)
    zone(root, "intel-rapl:1", "package-1", 5_000)
    zone(root, "intel-rapl:2", "psys", 77)
    zone(root, "intel-rapl-mmio:0", "package-0", 1_000)
    return root


def test_packages_are_counted_once(powercap: Path) -> None:
    meter = Rapl(powercap)
    assert meter.read() == (1_000, 5_000)
    assert "2 package" in meter.name
    assert meter.spent_mj((1_000, 5_000), (3_000, 5_500)) == pytest.approx(2.5)


def test_a_counter_that_began_again(powercap: Path) -> None:
    meter = Rapl(powercap)
    assert meter.spent_mj((RANGE - 1_000, 5_000), (500, 5_000)) == pytest.approx(1.5)
    assert meter.spent_mj((RANGE, 0), (0, 0)) == 0


def test_no_meter_says_why(powercap: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no RAPL package"):
        Rapl(tmp_path / "absent")


def test_a_meter_for_root_alone_has_a_mend(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def guarded(path: Path, *arguments: object) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_text", guarded)
    with pytest.raises(Unavailable, match="root alone") as caught:
        Rapl(powercap)
    assert "chmod" in caught.value.mend


def test_a_gpu_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = iter([10_000, 10_000, 12_500])
    fake = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda gpu: "A GPU",
        nvmlDeviceGetTotalEnergyConsumption=lambda gpu: next(counter),
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    meter = Nvml()
    assert "A GPU" in meter.name
    assert meter.spent_mj(meter.read(), meter.read()) == 2_500


def test_a_gpu_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Unavailable, match="nvidia-ml-py"):
        Nvml()


def test_whose_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = load_target("cpu")
    with pytest.raises(Unavailable, match="elsewhere"):
        meter_of(cpu.model_copy(update={"host": "ssh://me@board"}))
    monkeypatch.setattr(energy, "open_runtime", lambda target: SimpleNamespace(estimate=target.name == "npu"))
    with pytest.raises(Unavailable, match="estimate"):
        meter_of(cpu.model_copy(update={"name": "npu"}))
    monkeypatch.setattr(energy, "Nvml", lambda: "gpu")
    monkeypatch.setattr(energy, "Rapl", lambda: "cpu")
    assert meter_of(cpu) == "cpu"
    assert meter_of(cpu.model_copy(update={"provider": "CUDAExecutionProvider"})) == "gpu"


class Steady(energy.Meter):
    """Ten microjoules a reading."""

    name = "a meter on paper"

    def __init__(self) -> None:
        self.now = 0

    def read(self) -> tuple[int, ...]:
        self.now += 10_000
        return (self.now,)

    def spent_mj(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        return (after[0] - before[0]) / 1e3


def test_energy_stands_beside_the_time(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx_graph.write(nn.Sequential(nn.Conv2d(1, 4, 3)), (1, 8, 8))
    Path("model.onnx").write_bytes(model)
    monkeypatch.setattr(energy, "_WINDOW_NS", 1_000_000)
    monkeypatch.setattr(energy, "meter_of", lambda target: Steady())
    found, name = energies_mj({"a": model, "b": model}, load_target("cpu"))
    assert name == Steady.name
    assert all(0 < mj <= 10 for mj in found.values())
    outcome = hwnas("measure", "model.onnx", "--json")
    assert json.loads(outcome.stdout.splitlines()[-1])["energy_mj"] > 0
    assert f"mJ a run, {Steady.name}" in outcome.stdout


def test_without_a_meter_it_is_said(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(target: object) -> None:
        raise Unavailable("no RAPL here")

    Path("model.onnx").write_bytes(onnx_graph.write(nn.Sequential(nn.Conv2d(1, 4, 3)), (1, 8, 8)))
    monkeypatch.setattr(energy, "meter_of", none)
    outcome = hwnas("measure", "model.onnx", "--json")
    facts = json.loads(outcome.stdout.splitlines()[-1])
    assert facts["energy_mj"] is None
    assert facts["energy_meter"] == "no meter on this machine (no RAPL here)"
    assert "energy: no meter on this machine (no RAPL here)" in outcome.stdout
