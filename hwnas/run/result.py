"""`result.json`: what a run found. Fields of stages not run are null."""

import platform
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from hwnas.core import __version__
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.target import Precision
from hwnas.latency.fingerprint import how_known


class MeasuredMs(Settings):
    """Milliseconds on the target; `n` samples."""

    median: float
    p90: float
    n: int


class NetworkResult(Settings):
    """One network of the run. `accuracy`: fraction on the test split, of text that of next words; `perplexity`: of text
    alone. `peak_memory_bytes`: of the activations of one image in the target's precision, computed. `energy_mj`:
    measured, of one run. `note`: why something is missing.
    """

    space: str
    arch: list[int]
    choices: dict[str, str]
    predicted_ms: float | None = None
    predicted_ms_p95: float | None = None
    measured_ms: MeasuredMs | None = None
    within_budget: bool | None = None
    accuracy: float | None = None
    perplexity: float | None = None
    params: int
    macs: int
    peak_memory_bytes: int | None = None
    energy_mj: float | None = None
    note: str = ""


class ParetoPoint(Settings):
    """`accuracy`: on the search split, by the search's estimator; of text 1/perplexity. `others_ms`: predicted on the
    run's other targets, in their order."""

    arch: list[int]
    accuracy: float
    predicted_ms: float
    predicted_ms_p95: float
    others_ms: list[float] = []


class OnTarget(Settings):
    """What a run says of one target. `accuracy`: of the file that runs there.

    `budget_ms`: as predicted until the final measurement, then from the reference's measured latency.
    `latency_origin`: empty where hwnas measured the latencies, else where they come from. `predicted_operators`: how
    many of the space's were predicted instead of timed. `energy_meter`: what measured the energy, or why nothing did.
    `estimated_by`: the compiler that estimated `measured_ms` with no device involved; empty where it was measured.
    """

    budget: str
    budget_ms: float
    predicted_ms: float
    predicted_ms_p95: float
    measured_ms: MeasuredMs | None = None
    within_budget: bool | None = None
    accuracy: float | None = None
    perplexity: float | None = None
    energy_mj: float | None = None
    energy_meter: str = ""
    latency_origin: str = ""
    estimated_by: str = ""
    predicted_operators: int = 0
    reference: NetworkResult | None = None
    reference_scaled: NetworkResult | None = None
    random: NetworkResult | None = None

    @property
    def known(self) -> str:
        """What its latencies on the target are called: measured, or estimated (by whom)."""
        return how_known({"estimated_by": self.estimated_by})

    @property
    def verb(self) -> str:
        """`known` in one word."""
        return "estimated" if self.estimated_by else "measured"


class AlsoOn(OnTarget):
    target: str
    precision: Precision


class Result(OnTarget):
    """What belongs to one target is the first's; `also_on` has it for each of the others."""

    arch: list[int]
    choices: dict[str, str]
    space: str
    strategy: str
    seed: int
    params: int
    macs: int
    peak_memory_bytes: int | None = None
    also_on: list[AlsoOn] = []
    pareto: list[ParetoPoint]
    search_seconds: float
    profile_seconds: float
    versions: dict[str, str]


def load_result(path: Path) -> Result:
    """Of a run directory. Raises BadInput when there is none yet."""
    file = path / "result.json"
    try:
        return Result.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} has no result yet", f"hwnas run --out {path} goes on with it") from error
    except ValidationError as error:
        raise BadInput(f"{file} is damaged", f"delete it; hwnas run --out {path} writes it again") from error


def versions() -> dict[str, str]:
    packages = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scikit-learn", "scipy")
    ours = {"python": platform.python_version(), "hwnas": __version__}
    return ours | {name: version(name) for name in packages}
