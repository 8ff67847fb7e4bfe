"""A wheel built from the project works in an empty folder, with the profiles it ships."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def test_a_wheel_works_in_an_empty_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path / "dist"), str(PROJECT)], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "hwnas/profiles/cpu.yaml" in names
    assert any(name.startswith("hwnas/report/template/") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)

    empty = tmp_path / "empty"
    empty.mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    where = [sys.executable, "-c", "import hwnas; print(hwnas.__file__)"]
    found = subprocess.run(where, cwd=empty, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(tmp_path / "site"))
    command = [sys.executable, "-m", "hwnas", "targets", "--json"]
    listed = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=True)
    targets = json.loads(listed.stdout.splitlines()[-1])
    assert [t["available"] for t in targets if t["name"] == "cpu"] == [True]
