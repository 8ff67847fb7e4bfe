"""Latencies of whole networks that others published, from their file: a search under them needs no device.

    --set latency.path=nb201_latency_ms.npz latency.column=latency_ms latency.device=pixel3 \\
    --set latency.archs_path=nb201.npz latency.archs=op_index

The file is an npz (without pickles) or a JSON object of arrays: `column` holds [networks] milliseconds, or [devices,
networks] with the devices' names in the array `devices`; `archs`, there or in a file beside it, [networks, choices].
"""

from pathlib import Path

import numpy as np

from hwnas.core.arrays import Arrays, rows_of
from hwnas.core.budget import Statistic
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.files import sha256
from hwnas.latency.fingerprint import Fingerprint
from hwnas.latency.imports import imported_target
from hwnas.latency.table import Imported, LatencyTable
from hwnas.latency.tabular import TabularLatency
from hwnas.spaces import Space


class PublishedSettings(Settings):
    path: Path
    column: str = "latency_ms"
    device: str | None = None
    """Which of several."""
    devices: str = "devices"
    archs_path: Path | None = None
    """None: in the same file."""
    archs: str = "archs"


def open_published(space: Space, settings: PublishedSettings, statistic: Statistic) -> TabularLatency:
    """Raises BadInput for a file that does not fit the space or itself, an unknown device, or a p90."""
    if statistic != "median":
        raise BadInput(f"{settings.path} holds one latency a network, no percentiles", "give the --budget without @p90")
    arrays = Arrays(settings.path)
    archs = list(rows_of(Arrays(settings.archs_path) if settings.archs_path else arrays, settings.archs, space))
    ms = _of_device(arrays, settings)
    if ms.shape != (len(archs),):
        what = f"{settings.path}: '{settings.column}' has the shape {list(ms.shape)} for {len(archs)} networks"
        raise BadInput(what, "of several devices, --set latency.device=NAME" if ms.ndim == 2 else "")
    return TabularLatency(space, np.array(archs), ms, _origin(settings))


def _of_device(arrays: Arrays, settings: PublishedSettings) -> np.ndarray:
    ms = arrays.numbers(settings.column)
    if settings.device is None:
        return ms
    names = arrays.texts(settings.devices)
    if settings.device not in names or len(names) != len(ms):
        raise BadInput(f"{settings.path} has no device '{settings.device}'", f"it has: {', '.join(names)}")
    return ms[names.index(settings.device)]


def _origin(settings: PublishedSettings) -> LatencyTable:
    """A table without entries, which says where the latencies come from."""
    device = settings.device or "not stated"
    source = Imported(
        format="whole networks",
        source=settings.path.name,
        source_sha256=sha256(settings.path),
        unit="ms",
        dropped=0,
    )
    return LatencyTable(
        target=imported_target("published", "whole networks", device),
        fingerprint=Fingerprint(identity={"device": device}, recorded={}),
        protocol=None,
        protocol_sha256="",
        imported=source,
    )
