"""The same seed gives the same search, whatever the process and its hash seed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import TINY

SCRIPT = """
import json, sys
from pathlib import Path
from hwnas.run.config import resolve
from hwnas.run.stages import Run

settings = {
    "proxyless": (), "proxyless-rl": (), "spos": ("strategy.population=4", "strategy.generations=2"),
    "random": ("strategy.trials=3",),
}
found = {"hash": hash("hwnas")}
# Binds the search whatever the profile's noise was: a tenth above what the reference is sure to keep.
with Run(resolve({}, Path("tiny.yaml"), ()), Path("probe")) as probe:
    budget = f"{1.1 * probe.latencies[0].predict_p95(probe.space.reference())}ms"
for strategy, sets in settings.items():
    for seed in (0, 1) if strategy == "proxyless" else (0,):
        flags = {"strategy": {"name": strategy}, "seed": seed, "budget": budget}
        with Run(resolve(flags, Path("tiny.yaml"), sets), Path(f"{strategy}-{seed}")) as run:
            best = run.search().candidates[0].arch
            found[f"{strategy} {seed}"] = [list(best), run.journal.digest()]
print(json.dumps(found))
"""


def test_two_processes_with_different_hash_seeds_search_alike(workspace: Path):
    assert TINY["compute"]["threads"] == 1
    found = []
    for hash_seed in ("0", "1"):
        folder = workspace / hash_seed
        folder.mkdir()
        shutil.copy(workspace / "tiny.yaml", folder)
        shutil.copytree(workspace / "latency_tables", folder / "latency_tables")
        process = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=folder,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        found.append(json.loads(process.stdout))
    assert found[0].pop("hash") != found[1].pop("hash")
    assert found[0] == found[1]
    digests = [digest for _, digest in found[0].values()]
    assert len(set(digests)) == len(digests), "different seeds and strategies search differently"
