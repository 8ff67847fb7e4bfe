"""Stands in for `ssh`: answers as a device's worker does, until it is asked for the times. Then it misbehaves."""

import json
import os
import re
import sys
import time

size = int(re.search(r"read\((\d+)\)", sys.argv[-1])[1])
sys.stdin.buffer.read(size)
IDENTITY = {"device": "board", "runtime": "onnxruntime", "runtime_version": "1", "provider": "CPUExecutionProvider"}
ANSWERS = {"open": {"identity": IDENTITY, "state": {"governor": "unknown"}}, "load": {}, "close": {}}
ANSWERS |= json.loads(os.environ.get("HOSTILE_ANSWERS", "{}"))

for line in iter(sys.stdin.buffer.readline, b""):
    request = json.loads(line)
    sys.stdin.buffer.read(request["bytes"])
    answer = ANSWERS.get(request["do"], "")
    if answer == "10 GB":
        for _ in range(10 * 1024):
            sys.stdout.buffer.write(b"[" * (1 << 20))
    elif answer == "hang":
        time.sleep(3600)
    elif answer == "trickle":
        while True:
            time.sleep(0.05)
            sys.stdout.buffer.write(b" ")
            sys.stdout.flush()
    elif answer == "die":
        sys.exit(3)
    sys.stdout.write((answer if isinstance(answer, str) else json.dumps(answer)) + "\n")
    sys.stdout.flush()
