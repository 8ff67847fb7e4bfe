"""What stands beside a TensorRT engine, which nothing of ours is put into: what made it, and where it runs.

An engine is machine code for one GPU and one version of the library. It is made again from the ONNX beside it.
"""

import json
from hashlib import sha256
from typing import Literal

from hwnas.core.config import Settings, validate
from hwnas.core.errors import BadInput

REBUILD = "hwnas rebuild BUNDLE   # on the machine that is to run it"


class EngineFacts(Settings):
    """`gpu`, `compute_capability`: where it was built; empty for TensorRT-RTX, whose engines run on every RTX card.
    `flags`: how it was built. `batches`: the smallest, the one kernels were chosen for, the largest.
    """

    format: Literal[1] = 1
    library: Literal["tensorrt", "tensorrt_rtx"]
    version: str
    gpu: str
    compute_capability: str
    flags: tuple[str, ...]
    batches: tuple[int, int, int]
    engine_sha256: str
    model_sha256: str

    def to_json(self) -> bytes:
        return (json.dumps(self.model_dump(mode="json"), indent=1) + "\n").encode()


def read_facts(sidecar: bytes) -> EngineFacts:
    """Raises BadInput."""
    try:
        content = json.loads(sidecar)
    except (ValueError, RecursionError) as error:
        raise BadInput("the engine's sidecar is torn or not JSON", REBUILD) from error
    return validate(EngineFacts, content, "the engine's sidecar")


def require_whole(engine: bytes, sidecar: bytes, model: bytes) -> EngineFacts:
    """The three belong together. Raises BadInput when they do not."""
    facts = read_facts(sidecar)
    for what, content, digest in (("engine", engine, facts.engine_sha256), ("ONNX", model, facts.model_sha256)):
        if sha256(content).hexdigest() != digest:
            raise BadInput(f"the {what} is not the one that the engine's sidecar describes", REBUILD)
    return facts


def require_for(facts: EngineFacts, library: str, version: str, gpu: str, capability: str) -> None:
    """Raises BadInput when the engine was made by another library or version, or for another GPU than this."""
    made, here = f"{facts.library} {facts.version}", f"{library} {version}"
    elsewhere = facts.gpu and (facts.gpu, facts.compute_capability) != (gpu, capability)
    if made != here or elsewhere:
        what = f"the engine was made by {made}" + (f" for {facts.gpu} ({facts.compute_capability})" * bool(facts.gpu))
        raise BadInput(f"{what}; here is {here} on {gpu} ({capability})", REBUILD)
