"""An Android device over `adb`: commands with a time limit, files that arrive whole, and the state it is in."""

import re
import shlex
import tempfile
from hashlib import sha256
from pathlib import Path
from time import monotonic

from hwnas.core.errors import Unavailable
from hwnas.devices.process import printable, run

FOLDER = "/data/local/tmp/hwnas"
_PROPERTIES = ("product.manufacturer", "product.model", "board.platform", "build.version.release", "build.id")
_STATE = (
    "dumpsys battery; dumpsys thermalservice; cat /proc/loadavg;"
    " cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
)


class Gone(Exception):
    """The device is offline, rebooting, or does not answer."""


class Failed(Exception):
    """A command failed on a device that is there."""


class Phone:
    """Commands end before `end` (of `monotonic`), one way or another. All raise Gone, and Unavailable without adb."""

    def __init__(self, serial: str) -> None:
        self.serial = serial
        self.pushed: set[str] = set()

    def adb(self, end: float, *arguments: str) -> str:
        """Standard output. Raises Failed as well."""
        done = run(["adb", "-s", self.serial, *arguments], end - monotonic())
        if done.too_long:
            raise Unavailable(f"adb://{self.serial} sent more than a reply may hold: refused")
        if done.late:
            raise Gone("it does not answer")
        if done.code:
            said = (done.errors or printable(done.output))[-300:]
            if "unauthorized" in said:
                raise Unavailable(f"adb://{self.serial} does not trust this machine", "unlock it, allow USB debugging")
            # "error: device offline", "error: closed": adb's own words. It may be back by the time it is asked again.
            away = said.startswith("error:") or arguments[0] == "get-state"
            if away or self.adb(end, "get-state").strip() != "device":
                raise Gone(said or "it is offline")
            raise Failed(said or f"exit status {done.code}")
        return done.output

    def shell(self, end: float, *words: str) -> str:
        return self.adb(end, "shell", shlex.join(words))

    def push(self, end: float, name: str, content: bytes, mode: str = "644") -> str:
        """Its path on the device, where it lies whole. Raises Failed as well."""
        path, digest = f"{FOLDER}/{name}", sha256(content).hexdigest()
        if name not in self.pushed:
            check = f"chmod {mode} {path} && sha256sum {path} || true"
            if not self.adb(end, "shell", f"mkdir -p {FOLDER}; {check}").startswith(digest):
                with tempfile.TemporaryDirectory() as folder:
                    (Path(folder) / "file").write_bytes(content)
                    self.adb(end, "push", str(Path(folder) / "file"), path)
                if not self.adb(end, "shell", check).startswith(digest):
                    raise Failed(f"{name} did not arrive whole")
            self.pushed.add(name)
        return path

    def remove(self, end: float, name: str) -> None:
        if name in self.pushed:
            self.pushed.discard(name)
            self.shell(end, "rm", "-f", f"{FOLDER}/{name}")

    def properties(self, end: float) -> dict[str, str]:
        """Of `_PROPERTIES`, by the last part of their names; all are there. Raises Failed as well."""
        text = self.adb(end, "shell", "; ".join(f"getprop ro.{name}" for name in _PROPERTIES))
        values = [printable(line)[:60] for line in text.splitlines()]
        if len(values) != len(_PROPERTIES) or not all(values):
            raise Failed(f"it does not say what it is: {printable(text)[:100]}")
        return dict(zip((name.rpartition(".")[2] for name in _PROPERTIES), values, strict=True))

    def state(self, end: float) -> dict[str, str | int | float]:
        """Battery, heat (Android's thermal status: 0 none, 1 light throttling, 2 moderate …), load, governor."""
        text = self.adb(end, "shell", f"{_STATE}; true")

        def found(pattern: str) -> str:
            match = re.search(pattern, text, re.MULTILINE)
            return match[1] if match else ""

        level, thermal, tenths = (
            found(rf"^\s*{name}: (\d{{1,4}})\s*$") for name in ("level", "Thermal Status", "temperature")
        )
        load, governor = found(r"^(\d{1,4}\.\d\d) \d+\.\d\d \d+\.\d\d \d+/\d+ \d+\s*$"), found(r"^([a-z_]{3,20})\s*$")
        return {
            "battery_percent": int(level) if level else "unknown",
            "thermal_status": int(thermal) if thermal else "unknown",
            "battery_temperature_c": int(tenths) / 10 if tenths else "unknown",
            "powered": str(bool(re.search(r"^\s*\w+ powered: true\s*$", text, re.MULTILINE))).lower(),
            "load_1min": float(load) if load else "unknown",
            "governor": governor or "unknown",
        }
