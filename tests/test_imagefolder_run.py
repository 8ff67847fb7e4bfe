"""An image folder from end to end: odd names, sizes and modes; a corrupt file ends the run, or is left out."""

import json
from pathlib import Path

import pytest
from conftest import hwnas
from small_data import write_image

NAMES = ("<script>alert(1)</script>".replace("/", "∕"), "a, b", "naïve 日本", '"quoted" & |piped|', "{braces}")


@pytest.fixture
def photos(bare: Path) -> Path:
    for part, count in (("train", 16), ("val", 3)):
        for label, name in enumerate(NAMES):
            for number in range(count):
                mode, size = ("L" if number % 4 == 0 else "RGB"), (14 + 5 * label, 9 + 7 * number)
                write_image(bare / "photos" / part / name / f"{number}.jpg", size, mode, seed=100 * label + number)
    torn = bare / "photos" / "train" / NAMES[1] / "torn.jpg"
    write_image(torn, (64, 64))
    torn.write_bytes(torn.read_bytes()[:500])
    return bare / "photos"


def command(verb: str, photos: Path) -> list[object]:
    given = [verb, "--config", "tiny.yaml", "--data", "imagefolder", "--data-dir", photos, "--out", "r", "--json"]
    given += ["--set", "data.limit=null", "--set", "search.batch_size=8", "--set", "training.batch_size=16"]
    return [*given, "--strategy", "random", "--set", "strategy.trials=1", "--budget", "5ms"]


def test_a_search_on_a_folder_of_images(photos: Path) -> None:
    refused = hwnas(*command("search", photos))
    assert refused.code == 2 and "torn.jpg" in refused.stderr and "skip_corrupt" in refused.stderr
    outcome = hwnas(*command("search", photos), "--set", "data.skip_corrupt=true", "--out", "r2")
    assert outcome.code == 0, outcome.stderr
    assert "1 of 81 files were skipped" in outcome.stderr
    assert hwnas("report", "r2").code == 0
    page = Path("r2/report.html").read_text()
    assert "5 classes:" in page and "naïve 日本" in page
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


@pytest.mark.slow
def test_a_run_on_a_folder_of_images(photos: Path) -> None:
    outcome = hwnas(*command("run", photos), "--set", "data.skip_corrupt=true")
    assert outcome.code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["within_budget"] and 0 <= result["accuracy"] <= 1
    assert sorted(json.loads(Path("r/bundle/arch.json").read_text())["class_names"]) == sorted(NAMES)
    assert hwnas("verify", "r/bundle").code == 0
