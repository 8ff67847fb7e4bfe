"""Every plug-in of ours passes the public suite of its group; a new file joins by itself."""

from pathlib import Path

import pytest

from hwnas.core.plugins import GROUPS, catalogue
from hwnas.testing import Check, suite


def _cases():
    for group in GROUPS:
        for plugin in catalogue(group):
            marks = [] if plugin.available else [pytest.mark.skip(reason=f"{plugin.name}: {plugin.needs}")]
            for check in suite(group):
                name = f"{group}-{plugin.name}-{check.__name__.removeprefix('check_')}"
                yield pytest.param(plugin.name, check, id=name, marks=marks)


@pytest.mark.parametrize(("name", "check"), _cases())
def test_plugin(name: str, check: Check, tmp_path: Path) -> None:
    check(name, tmp_path)
