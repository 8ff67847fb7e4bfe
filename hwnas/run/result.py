"""`result.json`: what a run found. Fields of stages not run are null."""

import platform
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput


class MeasuredMs(Settings):
    """Milliseconds on the target; `n` samples."""

    median: float
    p90: float
    n: int


class NetworkResult(Settings):
    """One network of the run. `accuracy`: fraction on the test split. `note`: why something is missing."""

    space: str
    arch: list[int]
    choices: dict[str, str]
    predicted_ms: float | None = None
    predicted_ms_p95: float | None = None
    measured_ms: MeasuredMs | None = None
    within_budget: bool | None = None
    accuracy: float | None = None
    params: int
    macs: int
    note: str = ""


class ParetoPoint(Settings):
    arch: list[int]
    accuracy: float
    predicted_ms: float
    predicted_ms_p95: float


class Result(Settings):
    """`budget_ms`: as predicted until the final measurement, then from the reference's measured latency."""

    arch: list[int]
    choices: dict[str, str]
    space: str
    strategy: str
    seed: int
    budget: str
    budget_ms: float
    predicted_ms: float
    predicted_ms_p95: float
    measured_ms: MeasuredMs | None = None
    within_budget: bool | None = None
    accuracy: float | None = None
    params: int
    macs: int
    reference: NetworkResult | None = None
    reference_scaled: NetworkResult | None = None
    random: NetworkResult | None = None
    pareto: list[ParetoPoint]
    search_seconds: float
    profile_seconds: float
    versions: dict[str, str]


def load_result(path: Path) -> Result:
    """Of a run directory. Raises BadInput when there is none yet."""
    file = path / "result.json"
    try:
        return Result.model_validate_json(file.read_text())
    except OSError as error:
        raise BadInput(f"{path} has no result yet", f"hwnas run --out {path} goes on with it") from error
    except ValidationError as error:
        raise BadInput(f"{file} is damaged", f"delete it; hwnas run --out {path} writes it again") from error


def versions() -> dict[str, str]:
    packages = ("hwnas", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scikit-learn", "scipy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
