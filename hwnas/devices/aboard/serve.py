"""Answers a host's requests on stdin, each a JSON line, some with bytes behind it. An answer is a JSON line."""

from __future__ import annotations  # devices have older Pythons

import base64
import json
import os
import sys

import graphs  # pyright: ignore[reportMissingImports]
import machine  # pyright: ignore[reportMissingImports]


class Answers:
    """One method a request; each returns a JSON object."""

    def __init__(self) -> None:
        self.loaded = {}

    def open(self, payload: bytes, target: dict) -> dict:
        self.runtime = graphs.open_runtime(target)
        return {"identity": self.runtime.identity(), "state": machine.state()}

    def load(self, payload: bytes, key: str) -> dict:
        self.loaded[key] = self.runtime.load(payload)
        return {}

    def turn(self, payload: bytes, key: str, **protocol: int) -> dict:
        return {"samples_ns": graphs.turn_ns(self.loaded[key], **protocol)}

    def infer(self, payload: bytes, key: str, shape: list) -> dict:
        shape, content = self.loaded[key].infer(shape, payload)
        return {"shape": shape, "float32": base64.b64encode(content).decode()}

    def close(self, payload: bytes, key: str) -> dict:
        self.loaded.pop(key, None)
        return {}


def main() -> None:
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not fall among the replies
    answers = Answers()
    for line in iter(requests.readline, b""):
        request = json.loads(line)
        payload = requests.read(request.pop("bytes"))
        try:
            reply = getattr(answers, request.pop("do"))(payload, **request)
        except (graphs.Absent, graphs.Refused) as error:
            text = "".join(c if c.isprintable() else " " for c in str(error))
            reply = {"fault": type(error).__name__.lower(), "text": text[:300]}
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()
