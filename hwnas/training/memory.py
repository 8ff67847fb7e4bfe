"""How much memory a piece of work needs."""

from pathlib import Path
from types import TracebackType

import torch

from hwnas.training.compute import Device

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """`with PeakMemory(device) as peak: …`, then `peak.mib`: the most held at once beyond what was held before.

    On CUDA of the device, counted by torch's allocator; else of this process, counted by Linux. None where neither
    counts.
    """

    mib: float | None = None

    def __init__(self, device: Device) -> None:
        self._cuda = device.torch if device.torch.type == "cuda" else None

    def __enter__(self) -> "PeakMemory":
        if self._cuda is not None:
            torch.cuda.reset_peak_memory_stats(self._cuda)
            self._before = torch.cuda.memory_allocated(self._cuda) / 2**20
        else:
            self._before = _resident_mib("VmRSS") if _forget_peak() else None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._cuda is not None:
            peak = torch.cuda.max_memory_allocated(self._cuda) / 2**20
        else:
            peak = _resident_mib("VmHWM")
        if peak is not None and self._before is not None:
            self.mib = max(0.0, peak - self._before)


def _forget_peak() -> bool:
    """Let Linux count the peak from here on (proc(5): 5 into clear_refs)."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _resident_mib(field: str) -> float | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(found[0]) / 1024 if found else None
