"""Android over a fake `adb`: it hangs, reboots, dies, lies and grows hot; its benchmark program is onnxruntime's."""

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import yaml
from conftest import TINY, hwnas

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.target import Target
from hwnas.devices import adb, open_runtime
from hwnas.devices.benchmarks import BENCHMARKS
from hwnas.latency import timing
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.table import load_table
from hwnas.latency.turns import Turns
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.runtimes import Session

OPERATORS = 22
TURNS = TINY["profile"]["protocol"]["rounds"] * (OPERATORS + 8 + 2 * 4)
TIMEOUT = 3


@pytest.fixture(scope="module")
def model() -> bytes:
    spec = OpSpec.of("conv", (3, 16, 16), out=8, kernel=3, stride=1, act="relu6")
    return onnx_graph.write(build(spec).eval(), (3, 16, 16))


@pytest.fixture
def device(tmp_path: Path, monkeypatch) -> Path:
    """The folder by which a test says what happens to the device."""
    folder = tmp_path / "device"
    (folder / "root/data/local/tmp").mkdir(parents=True)
    (folder / "properties").write_text("Google\nPixel 8\nzuma\n14\nUQ1A.240205\n")
    (folder / "battery").write_text("  AC powered: false\n  USB powered: true\n  level: 83\n  temperature: 291\n")
    (folder / "onnxruntime_perf_test").write_bytes(b"\x7fELF")
    (folder / "bin").mkdir()
    (folder / "bin/adb").symlink_to(Path(__file__).with_name("fake_adb.sh"))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_ADB", str(folder))
    monkeypatch.setattr(adb, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(adb, "_WATCH_SECONDS", 0.2)
    return folder


@pytest.fixture
def target(device: Path) -> Target:
    options = {"benchmark": str(device / "onnxruntime_perf_test"), "timeout_seconds": TIMEOUT, "cool_seconds": 1}
    return Target(name="pixel", device="named", runtime="onnxruntime", host="adb://0A1B2C", options=options)


@pytest.fixture
def session(target: Target, model: bytes) -> Session:
    return open_runtime(target).load(model)


def test_the_fingerprint_is_the_phones(target: Target):
    found = fingerprint(open_runtime(target))
    assert found.identity["device"] == "Google Pixel 8 (zuma)"
    assert found.identity["driver"] == "Android 14 UQ1A.240205"
    assert str(found.identity["runtime_version"]).startswith("onnxruntime_perf_test ")
    assert "perf_test" in str(found.identity["measures"]) and "options" not in found.identity
    assert found.recorded["battery_percent"] == 83 and found.recorded["thermal_status"] == 0
    assert found.recorded["battery_temperature_c"] == 29.1 and found.recorded["governor"] == "schedutil"


def test_turns_grow_to_their_least_time(device: Path, session: Session):
    samples = session.turn_ns(2, 1_000_000, 3)
    assert len(samples) > 10 and sum(samples[:-1]) < 1_000_000 <= sum(samples)
    call = (device / "calls").read_text().splitlines()[-1]
    assert f"-r {2 + len(samples)}" in call and "-x 1" in call
    session.close()
    assert not list((device / "root/data/local/tmp/hwnas").glob("*.onnx"))


def test_parity_is_checked_on_this_machine(session: Session, model: bytes):
    x = np.random.default_rng(0).standard_normal((3, 3, 16, 16), dtype=np.float32)
    here = open_runtime(Target(name="cpu", runtime="onnxruntime")).load(model)
    np.testing.assert_array_equal(session.infer(x), here.infer(x))


def test_a_profile_outlives_a_reboot_and_takes_no_turn_twice(bare: Path, device: Path, target: Target, monkeypatch):
    (bare / "pixel.yaml").write_text(yaml.safe_dump(target.model_dump()))
    seen: list[tuple[str, int]] = []
    plain = Turns.record

    def record(self: Turns, key: str, number: int, samples_ns: list[int]) -> None:
        seen.append((key, number))
        if len(seen) == 20:
            (device / "reboot_at").write_text("0")
        if len(seen) == 50:
            (device / "dead").touch()
        plain(self, key, number, samples_ns)

    monkeypatch.setattr(Turns, "record", record)
    monkeypatch.setattr(adb, "_WATCH_SECONDS", 5.0)
    monkeypatch.setattr(timing, "_SETTLE_NS", 0)  # a fake needs no warming up
    arguments = ("profile", "--config", "tiny.yaml", "--target", "pixel.yaml", "--quiet")
    first = hwnas(*arguments)
    assert first.code == 4 and "it resumes" in first.stderr
    assert len(seen) == 50 and not (device / "reboot_at").exists()
    (device / "dead").unlink()
    again = hwnas(*arguments)
    assert again.code == 0, again.stderr
    assert len(seen) == len(set(seen)) == TURNS
    assert load_table(bare / "latency_tables/pixel.json").fingerprint.identity["host"] == "adb://0A1B2C"


@pytest.mark.parametrize("habit", ["hang", "dead"])
def test_a_device_that_is_gone_ends_with_the_timeout(device: Path, session: Session, habit: str):
    (device / habit).touch()
    start = monotonic()
    with pytest.raises(Unavailable, match="is gone") as refusal:
        session.turn_ns(1, 1000, 2)
    assert monotonic() - start < TIMEOUT + 2
    assert "it resumes" in refusal.value.mend


def test_a_stranger_is_told_what_to_do(device: Path, target: Target):
    (device / "unauthorized").touch()
    with pytest.raises(Unavailable) as refusal:
        open_runtime(target).identity()
    assert "USB debugging" in refusal.value.mend


def test_throttling_is_waited_for(device: Path, session: Session, monkeypatch):
    monkeypatch.setattr(adb, "_WATCH_SECONDS", 0.0)
    (device / "hot").write_text("3")
    assert session.turn_ns(1, 1000, 2)
    assert not (device / "hot").exists()
    (device / "hot").write_text("1000000")
    with pytest.raises(Unavailable, match="keeps throttling"):
        session.turn_ns(1, 1000, 2)


def test_a_low_battery_stops_the_profile(device: Path, target: Target, model: bytes):
    (device / "battery").write_text("  AC powered: false\n  level: 7\n")
    with pytest.raises(Unavailable, match="7 %"):
        open_runtime(target).load(model)
    (device / "battery").write_text("  AC powered: true\n  level: 7\n")
    open_runtime(target).load(model)


def runs(*seconds: object) -> str:
    return "".join(f"iteration:{n},time_cost:{s}\n" for n, s in enumerate(seconds, start=1))


LIES = {
    "nothing": "",
    "text": "Segmentation fault",
    "too few": runs("0.0001", "0.0001"),
    "too many": runs(*["0.0001"] * 4),
    "out of order": "iteration:2,time_cost:0.1\niteration:1,time_cost:0.1\niteration:3,time_cost:0.1\n",
    "not a number": runs("0.0001", "nan", "0.0001"),
    "infinite": runs("0.0001", "1e999", "0.0001"),
    "negative": runs("0.0001", "-0.0001", "0.0001"),
    "zero": runs("0.0001", "0.0", "0.0001"),
    "an hour": runs("0.0001", "3600", "3600"),
    "more than passed": runs("0.0001", "30", "30"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_lies_are_refused(device: Path, session: Session, lie: str):
    (device / "output").write_text(lie)
    with pytest.raises(Unavailable, match="refused"):
        session.turn_ns(1, 1000, 2)


def test_endless_output_is_refused(device: Path, session: Session):
    (device / "output").symlink_to("/dev/zero")
    start = monotonic()
    with pytest.raises(Unavailable, match="refused"):
        session.turn_ns(1, 1000, 2)
    assert monotonic() - start < TIMEOUT


def test_a_model_that_the_program_refuses_is_bad_input(device: Path, target: Target, model: bytes):
    (device / "output").write_text("Load model failed\x1b[0m")
    (device / "exit").write_text("255")
    with pytest.raises(BadInput, match="Load model failed") as refusal:
        open_runtime(target).load(model)
    assert "\x1b" not in str(refusal.value)


def test_a_device_that_does_not_say_what_it_is(device: Path, target: Target):
    (device / "properties").write_text("Google\n\n")
    with pytest.raises(Unavailable, match="what it is"):
        open_runtime(target).identity()


@pytest.mark.parametrize("change", [{"threads": 0}, {"provider": "NnapiExecutionProvider"}, {"batch": 4}])
def test_what_the_programs_cannot_do_is_refused_at_once(target: Target, change: dict):
    with pytest.raises(BadInput, match="over adb"):
        open_runtime(target.model_copy(update=change))


def test_a_missing_program_is_unavailable(target: Target):
    with pytest.raises(Unavailable, match="benchmark program"):
        open_runtime(target.model_copy(update={"options": {"benchmark": "/no/such/program"}}))


TFLITE = """\
INFO: Running benchmark for at least 3 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
INFO: count=3 first=3410 curr=3110 min=3100 max=3410 avg=3206.67 std=143
INFO: Running benchmark for at least 50 iterations and at least 1e-06 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=3210 curr=3170 min=3119 max=3483 avg=3187.42 std=38{percentiles}
INFO: Inference timings in us: Init: 5579, First inference: 3410, Warmup (avg): 3206.67, Inference (avg): 3187.42
"""


@pytest.mark.parametrize(("percentiles", "expected_ns"), [("", 3187420), (" p5=3125 median=3180 p95=3260", 3180000)])
def test_tensorflow_lites_program_is_understood(percentiles: str, expected_ns: int):
    output = TFLITE.format(percentiles=percentiles)
    assert BENCHMARKS["litert"].samples_ns(output, 3, 50) == [expected_ns]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("count=50", "count=5"),
        lambda text: text.replace("avg=3187.42 std=38", "avg=9187.42 std=38"),
        lambda text: text.replace("Inference (avg): 3187.42", "Inference (avg): 1.5"),
        lambda text: text.replace("INFO: Inference", "INFO: "),
        lambda text: text + text,
    ],
)
def test_tensorflow_lites_lies_are_refused(change: Callable[[str], str]):
    with pytest.raises(ValueError):
        BENCHMARKS["litert"].samples_ns(change(TFLITE.format(percentiles="")), 3, 50)


def test_litert_models_are_converted_and_pushed(device: Path, target: Target, model: bytes):
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
    (device / "output").write_text(TFLITE.format(percentiles=" p5=3125 median=3180 p95=3260"))
    phone = target.model_copy(update={"runtime": "litert"})
    runtime = open_runtime(phone)
    session = runtime.load(model)
    (pushed,) = (device / "root/data/local/tmp/hwnas").glob("*.tflite")
    assert pushed.read_bytes()[4:8] == b"TFL3"
    assert session.time_ns() == 3180000
    assert "medians" in runtime.measures
