"""What cannot be is said before the search: of a format by operator, not after everything was trained."""

from collections.abc import Sequence

import numpy as np

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.plugins import load
from hwnas.core.progress import Progress
from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.exporters import DEPLOYED
from hwnas.exporters.onnx import Onnx
from hwnas.latency.graphs import exact_graph
from hwnas.operators.opspec import OpSpec
from hwnas.run.config import RunConfig
from hwnas.run.formats import exporter_for
from hwnas.spaces import Space

_SIZES = ("out", "classes", "in", "width", "hidden")
"""Attributes that say how large an operator is, not of which kind."""


def require_text(config: RunConfig) -> None:
    """Raises BadInput for what networks that read text cannot do."""
    words = "networks that read text hand on word numbers as floats"
    for each in config.each():
        if (precision := each.target.precision) != "fp32":
            raise BadInput(f"{words}, which {precision} does not hold", "--target one of fp32: hwnas targets")
    for name in config.exporters:
        if load("exporters", name).tolerance > Onnx.tolerance:
            raise BadInput(f"{words}, which {name} rounds", f"leave out {name}")
    if config.training.teacher is not None:
        what = "a teacher and its student would read a window from each other's state"
        raise BadInput(f"training.teacher is for images: {what}", "--set training.teacher=null")


def require_exportable(space: Space, exporters: Sequence[str], target: Target) -> None:
    """One operator of each kind that the space can hold, through every format beside ONNX and what the target runs
    (whose operators the profiler times).

    Raises BadInput naming the operator that a format cannot hold.
    """
    others = [name for name in dict.fromkeys(exporters) if name not in ("onnx", DEPLOYED[target.precision])]
    kinds = kinds_of(space) if others else []
    with Progress("operators that every format holds", len(others) * len(kinds)) as progress:
        for name in others:
            exporter = exporter_for(name, open_runtime(target))
            for spec in kinds:
                samples = np.random.default_rng(0).standard_normal((2, *spec.input_shape), dtype=np.float32)
                try:
                    exporter.convert(exact_graph(spec), samples)
                except BadInput as error:
                    raise BadInput(f"{name} cannot hold {spec}: {error.what}", f"leave out {name}") from error
                except Unavailable as error:
                    raise Unavailable(f"{name} cannot be written here: {error.what}", error.mend) from error
                progress.advance()


def kinds_of(space: Space) -> list[OpSpec]:
    """The first operator of each kind: equal but for their sizes."""
    found: dict[object, OpSpec] = {}
    for conditional in space.operators():
        spec = conditional.spec
        found.setdefault((spec.kind, tuple(pair for pair in spec.attrs if pair[0] not in _SIZES)), spec)
    return list(found.values())
