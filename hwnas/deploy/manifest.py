"""A bundle's manifest, read as what it is: a file from somebody else."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.files import read_regular
from hwnas.core.plugins import names
from hwnas.core.target import Target
from hwnas.deploy.interface import Interface

MANIFEST = "manifest.json"
MOST_BYTES = 2 << 30
"""Of a model: protobuf's own limit."""
_MOST_MANIFEST_BYTES = 1 << 24
"""The names of a text's words are the most of it."""
_MOST_BATCH = _MOST_THREADS = 1024

_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What a verification needs of it; other keys are passed over, so that a newer hwnas may add some."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    files: dict[str, _Digest]
    formats: dict[str, Annotated[tuple[str, ...], Field(min_length=1, max_length=8)]] = Field(max_length=64)
    """Exporter → its files, the one that is loaded first."""
    deployed: str = Field(default="model.onnx", pattern=r"^[A-Za-z0-9_.-]+\.onnx$")
    """The file that was measured and tested."""
    preprocessing: Interface
    class_names: tuple[str, ...] = Field(min_length=2)
    accuracy: float = Field(ge=0, le=1)
    """Fraction of the test split, of the deployed file."""
    target: Target
    fingerprint: dict[str, str | int]
    predicted_ms: float = Field(gt=0)
    budget: str
    budget_ms: float = Field(gt=0)


def read_manifest(folder: Path) -> Manifest:
    """Raises BadInput when it is missing or torn, names a file outside the folder, or asks for what no bundle needs."""
    path = folder / MANIFEST
    try:
        content = json.loads(read_regular(path, _MOST_MANIFEST_BYTES))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is torn or not JSON: {str(error)[:100]}", "export the network again") from error
    manifest = validate(Manifest, content, str(path))
    for name in manifest.files:
        if name in ("", ".", "..", MANIFEST) or set(name) & set("/\\\0"):
            raise BadInput(f"{path} names the file {name[:80]!r}, which is not one of this folder")
        if (folder / name).is_symlink():
            raise BadInput(f"{folder / name} is a symbolic link: a bundle holds its files itself")
    # A runtime may also be the path of a Python file; taken from a manifest that would run anybody's code.
    if manifest.target.runtime not in names("runtimes"):
        raise BadInput(f"{path} wants the runtime {manifest.target.runtime[:80]!r}, which hwnas does not have")
    if manifest.target.batch > _MOST_BATCH or manifest.target.threads > _MOST_THREADS:
        raise BadInput(f"{path} asks for batch {manifest.target.batch} on {manifest.target.threads} threads")
    return manifest
