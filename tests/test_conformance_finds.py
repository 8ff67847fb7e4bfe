"""The suites take a plug-in in a file of one's own, pass a sound one and find what is wrong with others."""

from pathlib import Path
from unittest import SkipTest

import pytest

from hwnas.testing import suite

SOUND = """
from hwnas.core.config import NoSettings
from hwnas.core.seeds import stream
from hwnas.search.strategies import Proposer

class Mine(Proposer):
    Settings = NoSettings
    estimator = "early-stop"
    trials = 5

    def __init__(self, problem, settings):
        self.problem, self.rng = problem, stream(problem.seed, "mine")

    def ask(self):
        return self.problem.sample(self.rng)
"""


def failures(folder: Path, source: str) -> list[str]:
    file = folder / "mine.py"
    file.write_text(source)
    failed = []
    for check in suite("strategies"):
        try:
            check(str(file), folder)
        except SkipTest:
            continue
        except AssertionError:
            failed.append(check.__name__)
    return failed


def test_a_sound_strategy_passes(tmp_path: Path) -> None:
    assert failures(tmp_path, SOUND) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("self.problem.sample(self.rng)", "self.problem.space.random(self.rng)", "check_within_budget"),
        ('stream(problem.seed, "mine")', '__import__("random").Random()', "check_replay"),
        ('stream(problem.seed, "mine")', 'stream(hash("mine"))', "check_same_in_another_process"),
        ("import NoSettings", "import BaseModel\nclass NoSettings(BaseModel): ...", "check_settings"),
    ],
    ids=["over the budget", "random", "hash", "settings"],
)
def test_a_fault_is_found(tmp_path: Path, old: str, new: str, found: str) -> None:
    assert found in failures(tmp_path, SOUND.replace(old, new))
