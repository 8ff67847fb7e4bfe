"""`python worker.py` carries out the plan of the kit that it lies in, into results.json. Killed, it resumes.

The protocol is the profiler's: every graph once a round, the rounds in random order, more rounds for graphs whose
median is unsure.
"""

from __future__ import annotations  # devices have older Pythons

import hashlib
import json
import os
import random
import sys
import time
from math import comb
from pathlib import Path
from statistics import median

import graphs  # pyright: ignore[reportMissingImports]
import machine  # pyright: ignore[reportMissingImports]

FORMAT = 1
SETTLE_SECONDS = 0.5


class Kit:
    """`turns`: [number of the graph, round, samples in ns], oldest first; each is on disk before the next is taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = (folder / "SHA256SUMS").read_text().splitlines()
        self.sha256 = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        self.plan = json.loads(self.read("plan.json"))
        self.runtime = graphs.open_runtime(self.plan["target"])
        self.state = machine.state()
        self.owner = {"plan_sha256": self.sha256["plan.json"], "identity": self.runtime.identity()}
        self.turns = self.resume(folder / "turns.jsonl")

    def read(self, name: str) -> bytes:
        content = (self.folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256[name]:
            raise graphs.Absent(f"{name} is not the file that was packed: unpack the kit again")
        return content

    def resume(self, path: Path) -> list:
        """Open the journal. A torn last line is cut off; turns of another kit or another device are dropped."""
        content = path.read_bytes() if path.exists() else b""
        whole = content.rfind(b"\n") + 1
        records = [json.loads(line) for line in content[:whole].splitlines()]
        own = records[:1] == [self.owner]
        self.journal = path.open("ab")
        self.journal.truncate(whole if own else 0)
        if not own:
            self.record(self.owner)
        return records[1:] if own else []

    def record(self, record: object) -> None:
        self.journal.write(json.dumps(record).encode() + b"\n")
        self.journal.flush()
        os.fsync(self.journal.fileno())

    def run(self) -> None:
        protocol = self.plan["protocol"]
        for group in ("operators", "networks", "repeats"):
            numbers = [number for number, graph in enumerate(self.plan["graphs"]) if graph["group"] == group]
            if not numbers:
                continue
            loaded = {number: self.runtime.load(self.read(self.plan["graphs"][number]["file"])) for number in numbers}
            self.settle(loaded[numbers[0]])
            for round_ in range(protocol["rounds"]):
                self.round(group, round_, numbers, loaded)
            for round_ in range(protocol["rounds"], protocol["rounds"] + protocol["extra_rounds"]):
                unsure = [number for number in numbers if self.uncertainty(number) > protocol["max_variation"]]
                self.round(group, round_, unsure, loaded)
        self.write()

    def round(self, group: str, round_: int, numbers: list, loaded: dict) -> None:
        taken = {number for number, earlier, _ in self.turns if earlier == round_}
        order = [number for number in numbers if number not in taken]
        random.Random(f"{self.plan['seed']} {group} {round_}").shuffle(order)
        for number in order:
            self.turns.append([number, round_, self.turn(loaded[number])])
            self.record(self.turns[-1])
        if order:
            print(f"{group}: round {round_ + 1}, {len(order)} graphs", file=sys.stderr, flush=True)

    def turn(self, graph) -> list:
        p = self.plan["protocol"]
        return graphs.turn_ns(graph, p["warmup_runs"], int(p["turn_ms"] * 1e6), p["min_samples"])

    def settle(self, graph) -> None:
        """So that clocks and caches are as they will be."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            self.turn(graph)

    def uncertainty(self, number: int) -> float:
        """As the profiler's `summarise`: half the 95 % interval of the round medians' median, relative."""
        medians = sorted(median(samples) for graph, _, samples in self.turns if graph == number)
        edge = median_edge(len(medians))
        return (medians[-1 - edge] - medians[edge]) / 2 / median(medians)

    def write(self) -> None:
        state = {**self.state, "load_1min_after": machine.state()["load_1min"]}
        content = {**self.owner, "format": FORMAT, "target": self.plan["target"]["name"], "state": state}
        content["turns"] = self.turns
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        signed = {**content, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        part = self.folder / "results.json.part"
        with part.open("w") as file:
            json.dump(signed, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / "results.json")
        print(f"done: {self.folder / 'results.json'}, {len(self.turns)} turns", file=sys.stderr)


def median_edge(rounds: int) -> int:
    """Leave so many out at either end, and the rest spans the median's 95 % interval (by the sign test)."""
    tail, heads = 0.5**rounds, 0
    while tail < 0.025:
        heads += 1
        tail += comb(rounds, heads) * 0.5**rounds
    return max(0, heads - 1)


def main() -> None:
    try:
        Kit(Path(__file__).resolve().parent).run()
    except (graphs.Absent, graphs.Refused, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
