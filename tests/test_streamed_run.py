"""A run on data that stays on disk, from end to end: killed, it goes on at once, to the same decisions."""

import json
import os
import signal
from pathlib import Path
from time import sleep

import pytest
from conftest import hwnas, start
from small_data import write_image, write_shards

from hwnas.core.journal import Journal


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def command(verb: str, data: str, folder: Path, out: str) -> list[object]:
    given = [verb, "--config", "tiny.yaml", "--data", data, "--data-dir", folder, "--out", out, "--budget", "5ms"]
    given += ["--set", "data.limit=null", "--set", "search.batch_size=16", "--set", "training.batch_size=16"]
    return [*given, "--set", "data.workers=1", "--json"]


@pytest.fixture
def photos(bare: Path) -> Path:
    for part, count in (("train", 40), ("val", 8)):
        for name in ("ant", "bee", "wasp"):
            for number in range(count):
                write_image(bare / "photos" / part / name / f"{number}.png", (20, 20), seed=number)
    return bare / "photos"


def test_a_search_is_the_same_on_disk_and_in_memory(photos: Path) -> None:
    random = ("--strategy", "random", "--set", "strategy.trials=2")
    for out, held in (("memory", 8), ("disk", 0)):
        outcome = hwnas(*command("search", "imagefolder", photos, out), *random, "--set", f"data.held_gib={held}")
        assert outcome.code == 0, outcome.stderr
        assert ("images/s, and the trainer waited" in outcome.stderr) == (out == "disk")
    found = [
        [record["accuracy"] for record in Journal(Path(out, "journal.jsonl")).of("trial")] for out in ("memory", "disk")
    ]
    assert found[0] == found[1] and len(found[0]) == 2


@pytest.mark.slow
def test_a_killed_run_on_shards_goes_on_at_once(bare: Path) -> None:
    pytest.importorskip("webdataset", reason="the extra [webdataset] is not installed")
    write_shards(bare / "shards")
    longer = ("--set", "search.epochs=6", "--set", "training.epochs=2")
    whole = hwnas(*command("run", "webdataset", bare / "shards", "whole"), *longer)
    assert whole.code == 0, whole.stderr
    killed = [*command("run", "webdataset", bare / "shards", "killed"), *longer]
    for epochs in (2, 4):
        process = start(*killed, folder=bare)
        journal = bare / "killed" / "journal.jsonl"
        while process.poll() is None:
            if journal.exists() and sum(1 for _ in Journal(journal).of("epoch")) >= epochs:
                break
            sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    outcome = hwnas(*killed)  # at once: what the killed one's workers still hold does not matter
    assert outcome.code == 0, outcome.stderr
    assert Journal(bare / "killed" / "journal.jsonl").digest() == Journal(bare / "whole" / "journal.jsonl").digest()
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["accuracy"] == json.loads(whole.stdout.splitlines()[-1])["accuracy"]
    checked = hwnas("verify", bare / "killed" / "bundle", "--data", "webdataset", "--data-dir", bare / "shards")
    assert checked.code == 0 and "40 test images" in checked.stdout
