"""What this machine is, and the state it is in. Only the standard library: this file also travels to other devices."""

from __future__ import annotations  # devices have older Pythons

import os
import platform
import sys
from pathlib import Path


def cpu_name() -> str:
    """Model and core count, e.g. 'Intel(R) Xeon(R) Processor (family 6 model 207) x2'."""
    fields = _cpuinfo()
    board = _read("/proc/device-tree/model").strip("\0")
    model = fields.get("model name") or board or platform.processor() or platform.machine()
    if "cpu family" in fields:
        model += f" (family {fields['cpu family']} model {fields.get('model', '?')})"
    return f"{model} x{cores()}"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def state() -> dict[str, str | float]:
    """Recorded beside a measurement and warned about, but no part of a table's identity."""
    fields = _cpuinfo()
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "governor": governor or "unknown",
        "clock_mhz": fields.get("cpu MHz", "unknown"),
        "load_1min": os.getloadavg()[0] if sys.platform != "win32" else -1.0,
        "temperature_c": _temperature_c(),
        "battery_percent": _battery_percent(),
    }


def _temperature_c() -> float | str:
    """Of the hottest sensor; the kernel gives thousandths."""
    readings = [_read(path) for path in Path("/sys/class/thermal").glob("thermal_zone*/temp")]
    return max((int(text) / 1000 for text in readings if text.lstrip("-").isdigit()), default="unknown")


def _battery_percent() -> int | str:
    levels = [_read(path) for path in Path("/sys/class/power_supply").glob("*/capacity")]
    return min((int(text) for text in levels if text.isdigit()), default="unknown")


def _cpuinfo() -> dict[str, str]:
    lines = (line.partition(":") for line in _read("/proc/cpuinfo").split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
