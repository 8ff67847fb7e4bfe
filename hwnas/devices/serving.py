"""`python -m hwnas.devices.serving TARGET` runs models of this machine for another process (`apart.py`).

Requests come on stdin, each a JSON line with bytes behind it; an answer is a JSON line. It imports no more than the
runtime does, so it starts within a second.
"""

import base64
import json
import os
import sys
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from hwnas.core.errors import HwnasError, Unavailable
from hwnas.core.target import Target
from hwnas.devices import open_runtime
from hwnas.devices.process import printable
from hwnas.runtimes import Runtime, Session


class Served:
    """One method a request; each returns a JSON object."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sessions: dict[str, Session] = {}

    @cached_property
    def _runtime(self) -> Runtime:
        return open_runtime(self._target)

    def load(self, payload: bytes, key: str) -> dict[str, Any]:
        self._sessions[key] = self._runtime.load(payload)
        return {}

    def load_exported(self, payload: bytes, key: str, ends: list[int]) -> dict[str, Any]:
        files = [payload[start:end] for start, end in pairwise([0, *ends])]
        self._sessions[key] = self._runtime.load_exported(*files)
        return {}

    def turn(self, payload: bytes, key: str, **protocol: int) -> dict[str, Any]:
        return {"samples_ns": self._sessions[key].turn_ns(**protocol)}

    def infer(self, payload: bytes, key: str, shape: list[int]) -> dict[str, Any]:
        found = self._sessions[key].infer(np.frombuffer(payload, np.float32).reshape(shape))
        content = np.ascontiguousarray(found, np.float32).tobytes()
        return {"shape": list(found.shape), "float32": base64.b64encode(content).decode()}

    def close(self, payload: bytes, key: str) -> dict[str, Any]:
        self._sessions.pop(key).close()
        return {}


def main(target: str) -> None:
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not fall among the replies
    served = Served(Target.model_validate_json(target))
    for line in iter(requests.readline, b""):
        request = json.loads(line)
        payload = requests.read(request.pop("bytes"))
        try:
            reply = getattr(served, request.pop("do"))(payload, **request)
        except HwnasError as error:
            fault = "absent" if isinstance(error, Unavailable) else "refused"
            reply = {"fault": fault, "text": printable(error.what)[:300], "mend": printable(error.mend)[:300]}
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    main(sys.argv[1])
