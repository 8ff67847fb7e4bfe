"""The journal of turns taken, beside the table: what an interrupted profile goes on from."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from hwnas.core.journal import Journal
from hwnas.latency.timing import Rounds


class Turns:
    """Valid for one owner (a machine and its settings): another's turns are thrown away."""

    def __init__(self, path: Path, owner: dict[str, Any], fresh: bool) -> None:
        if fresh:
            path.unlink(missing_ok=True)
        self.journal = Journal(path)
        if self.journal.records and self.journal.records[0] != {"kind": "owner", **owner}:
            path.unlink()
            self.journal = Journal(path)
        if not self.journal.records:
            self.journal.append("owner", **owner)
        self.taken: dict[str, Rounds] = defaultdict(dict)
        """Graph → its rounds."""
        for record in self.journal.of("turn"):
            self.taken[record["key"]][record["round"]] = record["samples_ns"]

    def record(self, key: str, number: int, samples_ns: list[int]) -> None:
        self.journal.append("turn", key=key, round=number, samples_ns=samples_ns)

    def forget(self) -> None:
        self.journal.path.unlink(missing_ok=True)
