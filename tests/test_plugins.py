import sys
from pathlib import Path

import pytest

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.plugins import GROUPS, Plugin, catalogue, load, names

MINE = """
from hwnas.search.strategies.random import Random

class MyOwn(Random):
    pass
"""


@pytest.mark.parametrize("group", GROUPS)
def test_every_plugin_of_ours_is_listed_and_loads(group: str):
    """But for ExecuTorch, whose many dependencies the extra `dev` does not bring: it says what to install."""
    assert names(group)
    assert [plugin.name for plugin in catalogue(group)] == names(group)
    missing = [plugin for plugin in catalogue(group) if not plugin.available]
    assert missing in ([], [Plugin("executorch", False, "pip install executorch")])


@pytest.mark.parametrize(
    ("group", "name", "near"),
    [("strategies", "proxyles", "proxyless"), ("spaces", "mobil", "mobile"), ("datasets", "cifar-10", "cifar10")],
)
def test_an_unknown_name_is_refused_with_its_near_match(group: str, name: str, near: str):
    with pytest.raises(BadInput, match=name) as refused:
        load(group, name)
    assert f"did you mean '{near}'?" in refused.value.mend
    assert all(known in refused.value.mend for known in names(group))


def test_a_name_like_no_other_is_refused_with_what_is_known():
    with pytest.raises(BadInput) as refused:
        load("strategies", "qqqqqqqq")
    assert "did you mean" not in refused.value.mend
    assert "known: " in refused.value.mend


@pytest.mark.parametrize("name", ["_logits", "-logits", "__init__", "../secret", "."])
def test_what_is_no_plugin_is_not_loaded(name: str):
    with pytest.raises(BadInput):
        load("strategies", name)


def test_a_plugin_at_a_path(tmp_path: Path):
    (tmp_path / "my_own.py").write_text(MINE)
    assert load("strategies", str(tmp_path / "my_own.py")).__name__ == "MyOwn"


def test_a_plugin_file_that_is_missing_or_has_another_class(tmp_path: Path):
    with pytest.raises(BadInput, match="no plug-in file"):
        load("strategies", str(tmp_path / "absent.py"))
    (tmp_path / "other.py").write_text(MINE)
    with pytest.raises(BadInput, match="no class Other") as refused:
        load("strategies", str(tmp_path / "other.py"))
    assert "CamelCase" in refused.value.mend


@pytest.fixture
def needy(tmp_path: Path, monkeypatch):
    """A strategy of ours whose package is not installed."""
    import hwnas.search.strategies as package

    (tmp_path / "needy.py").write_text("import a_package_nobody_has\n\nclass Needy: ...\n")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    yield "needy"
    sys.modules.pop("hwnas.search.strategies.needy", None)


def test_a_plugin_whose_package_is_missing_stays_listed(needy: str):
    listed = {plugin.name: plugin for plugin in catalogue("strategies")}
    assert listed[needy] == Plugin(needy, False, "pip install a_package_nobody_has")
    assert listed["proxyless"].available
    with pytest.raises(Unavailable, match="a_package_nobody_has") as refused:
        load("strategies", needy)
    assert refused.value.exit_code == 4
