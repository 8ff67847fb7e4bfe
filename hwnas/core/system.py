"""What Linux says of a machine's readiness to be timed on. Every function takes the root of the file system, so that it
can be tried on another one; a file that is not there gives None: nothing is known.
"""

from pathlib import Path

_CPU = "sys/devices/system/cpu"


def governor(root: Path) -> str | None:
    """The slowest policy of any core's clock."""
    names = {_read(path) for path in (root / _CPU).glob("cpu[0-9]*/cpufreq/scaling_governor")} - {None}
    return ", ".join(sorted(str(name) for name in names)) or None


def turbo(root: Path) -> bool | None:
    """Whether clocks may rise above the base frequency, for as long as heat allows."""
    if (off := _read(root / _CPU / "intel_pstate/no_turbo")) is not None:
        return off == "0"
    boost = _read(root / _CPU / "cpufreq/boost")
    return None if boost is None else boost == "1"


def clock_source(root: Path) -> str | None:
    return _read(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")


def throttled(root: Path) -> int | None:
    """How often any core was slowed down by heat since the machine started."""
    counts = [_read(path) for path in (root / _CPU).glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    known = [int(count) for count in counts if count is not None and count.isdigit()]
    return sum(known) if known else None


def cpu_limit(root: Path) -> float | None:
    """Cores' worth of time that a container grants; None where nothing limits it (control groups 2, then 1)."""
    if (limit := _read(root / "sys/fs/cgroup/cpu.max")) is not None:
        quota, _, period = limit.partition(" ")
    else:
        quota = _read(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "max"
        period = _read(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us") or ""
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) > 0 else None


def memory_available_bytes(root: Path) -> int | None:
    lines = (line.split() for line in (_read(root / "proc/meminfo") or "").splitlines())
    return next((1024 * int(words[1]) for words in lines if words[:1] == ["MemAvailable:"]), None)


def load_1min(root: Path) -> float | None:
    text = _read(root / "proc/loadavg")
    return float(text.split()[0]) if text else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
