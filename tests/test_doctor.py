"""The doctor on machines of paper: trees of /sys and /proc as Linux writes them."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from conftest import hwnas

from hwnas.core import system
from hwnas.core.errors import Unavailable
from hwnas.run import doctor
from hwnas.run.doctor import Finding, Health

CPU = "sys/devices/system/cpu"


def tree(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


def verdicts(findings) -> dict[str, bool | None]:
    found = list(findings)
    assert all(f.mend for f in found if f.ok is False), "a check that fails says what to do"
    return {f.name: f.ok for f in found}


def test_a_quiet_server(tmp_path: Path) -> None:
    files = {
        f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
        f"{CPU}/cpu1/cpufreq/scaling_governor": "performance",
        f"{CPU}/intel_pstate/no_turbo": "1",
        f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "0",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
        "sys/fs/cgroup/cpu.max": "max 100000",
        "proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB",
        "proc/loadavg": "0.05 0.1 0.2 1/100 4",
    }
    root = tree(tmp_path, **files)
    assert set(verdicts(doctor.clocks(root)).values()) == {True}
    assert verdicts(doctor.heat(root)) == {"heat": True}
    assert verdicts(doctor.load(root, lambda: [100] * 1000)) == {"load": True, "other work on this core": True}
    assert verdicts(doctor.room(root, tmp_path))["memory"] is True
    assert verdicts(doctor.room(root, tmp_path))["control group"] is True


def test_a_warm_laptop_in_a_container(tmp_path: Path) -> None:
    files = {
        f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
        f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave",
        f"{CPU}/cpufreq/boost": "1",
        f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "3",
        f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "4",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet",
        "sys/fs/cgroup/cpu.max": "150000 100000",
        "proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable: 800000 kB",
        "proc/loadavg": "99.0 0.1 0.2 1/100 4",
    }
    root = tree(tmp_path, **files)
    assert verdicts(doctor.clocks(root)) == {"governor": False, "turbo": False, "clock source": False}
    (hot,) = doctor.heat(root)
    assert hot.ok is False
    assert "7 times" in hot.detail
    busy = [100] * 1000 + [50_001]
    assert verdicts(doctor.load(root, lambda: busy)) == {"load": False, "other work on this core": False}
    limit, memory, _ = doctor.room(root, tmp_path)
    assert (limit.ok, memory.ok) == (False, False)
    assert "1.5 cores" in limit.detail


def test_what_is_not_visible_is_unknown_and_no_failure(tmp_path: Path) -> None:
    assert set(verdicts(doctor.clocks(tmp_path)).values()) == {None}
    assert verdicts(doctor.heat(tmp_path)) == {"heat": None}
    assert verdicts(doctor.load(tmp_path, lambda: [100]))["load"] is None
    assert verdicts(doctor.room(tmp_path, tmp_path))["memory"] is None


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({}, None),
    ],
)
def test_control_groups_of_both_versions(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    assert system.cpu_limit(tree(tmp_path, **files)) == cores


def test_a_coarse_timer_is_told() -> None:
    assert verdicts(doctor.resolution(lambda: [0, 0, 15_000_000])) == {"timer": False}
    assert verdicts(doctor.resolution(lambda: [0, 0])) == {"timer": False}
    assert verdicts(doctor.resolution(lambda: [0, 40, 80])) == {"timer": True}


def test_a_package_out_of_range_or_missing_is_named() -> None:
    def old(name: str) -> str:
        if name == "scipy":
            raise PackageNotFoundError(name)
        return "1.2.0" if name == "torch" else "999"

    (finding,) = doctor.packages(old)
    assert finding.essential
    assert finding.ok is False
    assert "torch 1.2.0, needs >=2.10" in finding.detail
    assert "scipy missing" in finding.detail
    assert "pytest" not in finding.detail  # extras are nobody's need
    assert next(doctor.packages()).ok


def test_programs_that_are_not_there() -> None:
    found = verdicts(doctor.reach(lambda program: "/usr/bin/ssh" if program == "ssh" else None))
    assert found == {"ssh": True, "adb": False}


def test_only_the_essential_decides() -> None:
    note = Finding("governor", False, "powersave", "set it")
    Health((note,)).raise_for_failure()
    broken = Finding("default target", False, "no onnxruntime", "pip install onnxruntime", essential=True)
    with pytest.raises(Unavailable) as caught:
        Health((note, broken)).raise_for_failure()
    assert caught.value.exit_code == 4
    assert caught.value.mend == broken.mend
    text = Health((note, broken)).text()
    assert "note    governor" in text
    assert "FAILED  default target" in text


def test_the_verb(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = hwnas("doctor", "--json")
    assert outcome.code == 0, outcome.stderr
    facts = json.loads(outcome.stdout.splitlines()[-1])
    assert facts["ok"] is True
    assert {"default target", "packages", "timer", "disk", "runtime onnxruntime", "ssh"} <= {
        check["name"] for check in facts["checks"]
    }
    (bare / "profiles").mkdir()
    (bare / "profiles" / "cpu.yaml").write_text("name: cpu\nruntime: onnxruntime\nprovider: NoSuchProvider\n")
    outcome = hwnas("doctor", "--json")
    assert outcome.code == 4
    assert "NoSuchProvider" in outcome.stderr
    assert json.loads(outcome.stdout.splitlines()[-1])["ok"] is False
