"""Every plug-in of ours passes the public suite of its group; a new file joins by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_data import write_cifar10_binary, write_fashion_mnist, write_imagefolder, write_text

from hwnas.core.plugins import GROUPS, catalogue
from hwnas.testing import Check, suite


def _cases() -> Iterator[object]:
    for group in GROUPS:
        for plugin in catalogue(group):
            marks = [] if plugin.available else [pytest.mark.skip(reason=f"{plugin.name}: {plugin.needs}")]
            for check in suite(group):
                name = f"{group}-{plugin.name}-{check.__name__.removeprefix('check_')}"
                yield pytest.param(plugin.name, check, id=name, marks=marks)


@pytest.fixture(scope="module", autouse=True)
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Data sets that are read from files find small ones."""
    folder = tmp_path_factory.mktemp("data")
    writers = {
        "fashion_mnist": write_fashion_mnist,
        "cifar10": write_cifar10_binary,
        "imagefolder": write_imagefolder,
        "ptb": write_text,
    }
    for name, write in writers.items():
        (folder / name).mkdir()
        write(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWNAS_DATA", str(folder))
        yield


@pytest.mark.parametrize(("name", "check"), list(_cases()))
def test_plugin(name: str, check: Check, tmp_path: Path) -> None:
    check(name, tmp_path)
