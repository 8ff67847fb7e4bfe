"""Arm's compiler as a runtime: its cycles, its clock, and nothing that would run beside the NPU."""

import csv
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("ethosu", reason="needs ethos-u-vela")

from ethosu.vela.architecture_features import CONFIG_FILES_PATH
from ethosu.vela.vela import main as vela

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.plugins import catalogue
from hwnas.core.target import Target, load_target
from hwnas.devices import open_runtime
from hwnas.formats.int8 import quantize
from hwnas.formats.tflite import from_onnx
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.graphs import operator_graph
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes import Runtime

VELA_INI = Path(CONFIG_FILES_PATH) / "Arm" / "vela.ini"
PROFILES = ("ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u85-256")


def ethos_u(**options: str) -> Runtime:
    return open_runtime(Target(name="test", runtime="ethos-u", precision="int8", options=options))


def rounded(module: nn.Module, shape: tuple[int, ...]) -> bytes:
    samples = np.random.default_rng(0).standard_normal((2, *shape), dtype=np.float32)
    return quantize(onnx_graph.write(module.eval(), shape), samples, "u8s8")


def block(width: int = 16) -> bytes:
    torch.manual_seed(0)
    attributes = {"kernel": 5, "stride": 1, "expand": 6, "act": "hardswish", "se": True}
    return rounded(build(OpSpec.of("mbconv", (width, 14, 14), out=width, **attributes)), (width, 14, 14))


@pytest.mark.parametrize("name", PROFILES)
def test_the_cycles_are_those_of_velas_command_line(name: str, tmp_path: Path) -> None:
    target = load_target(name)
    (tmp_path / "block.tflite").write_bytes(from_onnx(block()))
    o = target.options
    arguments = {"--accelerator-config": o["accelerator"], "--config": VELA_INI, "--output-dir": tmp_path}
    arguments |= {"--system-config": o["system_config"], "--memory-mode": o["memory_mode"]}
    vela([str(tmp_path / "block.tflite"), *(str(word) for pair in arguments.items() for word in pair)])
    (summary,) = tmp_path.glob("*_summary_*.csv")
    row = next(csv.DictReader(summary.open()))
    session = open_runtime(target).load(block())
    assert session.time_ns() == round(float(row["cycles_total"]) / float(row["core_clock"]) * 1e9)
    assert session.time_ns() == pytest.approx(float(row["inference_time"]) * 1e9, rel=1e-6)


def test_the_same_every_time() -> None:
    runtime, model = ethos_u(), block()
    first = runtime.load(model)
    assert first.turn_ns(warmup_runs=3, least_ns=10**9, least_samples=6) == [first.time_ns()]
    assert {runtime.load(model).time_ns() for _ in range(3)} == {first.time_ns()}


def test_a_network_is_priced_the_same_whatever_was_drawn_before() -> None:
    """Its random weights are packed, and their size is part of the price: a resumed search must see the same."""
    runtime, spec = ethos_u(), OpSpec.of("classifier", (96, 4, 4), classes=100)
    first = operator_graph(spec, runtime)
    state = torch.random.get_rng_state()
    assert operator_graph(spec, runtime) == first
    assert torch.equal(state, torch.random.get_rng_state()), "pricing has moved the run's random stream"


def test_milliseconds_follow_the_clock_of_ones_own_file(tmp_path: Path) -> None:
    """With all memories at their ratio to the clock, the cycles stay as they are."""
    ini = tmp_path / "soc.ini"
    ini.write_text(VELA_INI.read_text().replace("core_clock=500e6", "core_clock=250e6"))
    names = {"system_config": "Ethos_U55_High_End_Embedded", "memory_mode": "Shared_Sram"}
    ours, theirs = ethos_u(ini=str(ini), **names), ethos_u(**names)
    assert ours.load(block()).time_ns() == 2 * theirs.load(block()).time_ns()
    assert ours.identity()["clock_hz"] == 250_000_000
    assert ours.identity()["configuration_sha256"] != theirs.identity()["configuration_sha256"]


def test_velas_defaults_are_named() -> None:
    identity = ethos_u(accelerator="ethos-u65-512").identity()
    assert identity["device"] == "ethos-u65-512"
    assert identity["system_config"] == "Ethos_U65_Client_Server"
    assert identity["memory_mode"] == "Dedicated_Sram_384KB"
    assert identity["clock_hz"] == 10**9


def test_naming_the_defaults_changes_no_fingerprint() -> None:
    named = ethos_u(accelerator="ethos-u55-128", memory_mode="Shared_Sram")
    assert not fingerprint(named).differences(fingerprint(ethos_u()))


def test_the_memory_mode_matters() -> None:
    times = {mode: ethos_u(memory_mode=mode).load(block()).time_ns() for mode in ("Sram_Only", "Shared_Sram")}
    assert times["Sram_Only"] < times["Shared_Sram"]


def test_what_would_run_on_the_cpu_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    runtime = ethos_u()
    with pytest.raises(BadInput, match=r"NPU alone.*Float32"):
        runtime.load(onnx_graph.write(nn.Sequential(nn.Conv2d(3, 8, 3)).eval(), (3, 8, 8)))
    strided = rounded(nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 5, stride=5, groups=8)), (8, 32, 32))
    with pytest.raises(BadInput, match=r"stride: 5"):
        runtime.load(strided)
    assert capfd.readouterr() == ("", ""), "the compiler's text belongs into the message"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"accelerator": "ethos-u99"}, "accelerator"),
        ({"memory_mode": "Sram"}, "Sram"),
        ({"system_config": "Ethos_U55"}, "Ethos_U55"),
        ({"ini": "none.ini", "system_config": "a", "memory_mode": "b"}, "none.ini"),
        ({"ini": str(VELA_INI)}, "default"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ethos_u(**options)


@pytest.mark.parametrize(
    "text", ["", "no section", "[System_Config.a]\ncore_clock=fast\n", "[System_Config.a]\naxi0_port=Ram"]
)
def test_files_that_are_no_configuration_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "soc.ini").write_text(text)
    with pytest.raises(BadInput):
        ethos_u(ini=str(tmp_path / "soc.ini"), system_config="a", memory_mode="b")


def test_other_precisions_are_unavailable() -> None:
    with pytest.raises(Unavailable, match="int8"):
        open_runtime(Target(name="test", runtime="ethos-u"))


def test_threads_may_compile_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Each sends standard output elsewhere while it compiles; afterwards it is where it was."""
    runtime, model, times = ethos_u(), block(), []
    threads = [threading.Thread(target=lambda: times.append(runtime.load(model).time_ns())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("still here", flush=True)
    assert len(times) == 4 and len(set(times)) == 1
    assert capfd.readouterr().out == "still here\n"


def test_outputs_are_computed_from_the_same_file() -> None:
    x = np.random.default_rng(1).standard_normal((3, 16, 14, 14), dtype=np.float32)
    model = block()
    on_cpu = open_runtime(Target(name="test", runtime="litert", precision="int8")).load(model).infer(x)
    assert np.array_equal(ethos_u().load(model).infer(x), on_cpu)


def test_without_the_compiler_the_list_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not named as its module is."""
    for module in ("hwnas.runtimes.ethos_u", "hwnas.formats.vela"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "ethosu", None)
    (found,) = [plugin for plugin in catalogue("runtimes") if plugin.name == "ethos-u"]
    assert not found.available and found.needs == "pip install ethos-u-vela"
