"""A bundle carried to a machine that has numpy and one runtime alone: its README's lines run there."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from bundles import write
from packaging.requirements import Requirement

from hwnas.core.plugins import catalogue
from hwnas.core.target import load_target

RUNS_HERE = {
    "onnx": "onnxruntime",
    "onnx-int8": "onnxruntime",
    "openvino-int8": "openvino",
    "litert": "ai-edge-litert",
    "litert-int8": "ai-edge-litert",
    "ethos-u": "ai-edge-litert",
}
"""Format → the one package that its section names."""
AVAILABLE = {plugin.name for plugin in catalogue("exporters") if plugin.available}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("card") / "bundle", load_target("cpu"), sorted(RUNS_HERE.keys() & AVAILABLE))


def needed(package: str) -> set[str]:
    """The package and all that it requires, by its metadata."""
    found, todo = set(), [package]
    while todo:
        name = todo.pop()
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue  # not needed on this machine
        found.add(name)
        plain = [r for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate({"extra": ""})]
        todo += [r.name for r in plain if r.name not in found]
    return found


@pytest.fixture
def elsewhere(bundle: Path, tmp_path: Path) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """`elsewhere(package, code)`: in a copy of the bundle, by a Python that can import numpy, that package and what it
    requires. Everything else that is installed here does not exist there."""
    from importlib.metadata import files

    def run(package: str, code: str) -> subprocess.CompletedProcess[str]:
        packages = tmp_path / "packages"
        packages.mkdir()
        for name in needed(package) | needed("numpy"):
            for file in files(name) or []:
                top = file.parts[0]
                if top not in ("..", "__pycache__") and not (packages / top).exists():
                    (packages / top).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)
        moved = tmp_path / "moved"
        moved.mkdir()
        for path in bundle.iterdir():
            (moved / path.name).write_bytes(path.read_bytes())
        start = f"import sys; sys.path[:0] = [{str(packages)!r}]\n"
        command = [sys.executable, "-S", "-E", "-s", "-c", start + code]
        return subprocess.run(command, cwd=moved, capture_output=True, text=True, check=False)

    return run


def lines_of(bundle: Path, name: str) -> str:
    """The preparation, and the section of a format."""
    readme = (bundle / "README.md").read_text()
    first = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    section = re.search(rf"## {re.escape(name)}\n.*?```python\n(.*?)```", readme, re.DOTALL)
    assert first and section
    return first[1] + section[1]


@pytest.mark.parametrize("name", sorted(RUNS_HERE))
def test_each_formats_lines_run_with_numpy_and_its_own_library_alone(name: str, bundle: Path, elsewhere) -> None:
    if name not in AVAILABLE:
        pytest.skip(f"{name} cannot be written here")
    samples = safetensors.torch.load_file(bundle / "samples.safetensors")
    np.save(bundle / "pixels.npy", samples["pixels"].numpy())
    random = re.search(r"^images = .*$", code := lines_of(bundle, name), re.MULTILINE)
    assert random is not None
    code = code.replace(random[0], 'images = np.load("pixels.npy")')
    absent = (
        "import importlib.util\n"
        "for name in ('torch', 'onnx', 'hwnas', 'safetensors'): assert importlib.util.find_spec(name) is None, name\n"
    )
    done = elsewhere(RUNS_HERE[name], absent + code)
    (bundle / "pixels.npy").unlink()
    assert done.returncode == 0, done.stderr
    answers = np.array(re.findall(r"\d+", done.stdout), int)
    assert (answers == samples["logits"].argmax(1).numpy()).mean() >= (0.9 if "int8" in name or "ethos" in name else 1)


@pytest.mark.parametrize("name", sorted(RUNS_HERE))
def test_a_section_names_its_package_and_is_short(name: str, bundle: Path) -> None:
    if name not in AVAILABLE:
        pytest.skip(f"{name} cannot be written here")
    code = lines_of(bundle, name)
    assert len([line for line in code.splitlines() if not line.startswith("#")]) <= 18
    section = (bundle / "README.md").read_text().partition(f"## {name}\n")[2].partition("```")[0]
    assert f"Needs {RUNS_HERE[name]}." in section


def test_the_card_says_what_a_user_must_know(bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    for row in ("input", "preprocessing", "output", "licence"):
        assert f"\n| {row} | " in text
    assert "class 0, class 1" in text and "float32 \\[batch, 3, 16, 16\\]" in text
