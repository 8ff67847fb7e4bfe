"""Files from strangers: whatever they hold, nothing outside is read, nothing is run, and memory stays small."""

import io
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import edit, write
from conftest import hwnas
from onnx import TensorProto, helper

from hwnas.core.errors import BadInput
from hwnas.core.target import load_target
from hwnas.deploy.card import plain
from hwnas.deploy.measure import measure_file
from hwnas.deploy.structure import fault
from hwnas.deploy.verify import verify_bundle

GIB = 1 << 30
EVIL = (
    "<script>alert(1)</script>",
    "a|b|c",
    "[click](javascript:alert(1))",
    "![x](http://tracker.invalid/x.png)",
    "`x` **bold**\n# heading",
    '"; import os; os.system("id") #',
    "=HYPERLINK(1)",
    "\x1b[2J\x07",
    "</td></tr></table>",
    "日本",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("hostile") / "bundle", load_target("cpu"), class_names=EVIL)


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def failed(bundle: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify_bundle(bundle).checks if not check.ok}


def within(gib: int, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own that may take so much memory."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (gib * GIB, gib * GIB))

    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=120)


def model_with(weight: TensorProto, *nodes: onnx.NodeProto) -> bytes:
    """One that adds the mean of a weight to its input [batch, 3, 16, 16]."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, 16, 16]) for name in "xy")
    mean = helper.make_node("ReduceMean", ["w"], ["m"], keepdims=0)
    add = helper.make_node("Add", ["x", "m"], ["y"])
    graph = helper.make_graph([*nodes, mean, add], "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def external(location: str) -> bytes:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    return model_with(weight)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link", "weights.bin"])
def test_weights_in_another_file_are_never_read(bundle: Path, tmp_path: Path, location: str, monkeypatch) -> None:
    """Not from above the folder, not by an absolute path, not through a link, not from the folder itself."""
    (tmp_path / "secret").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (bundle / "weights.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (bundle / "link").symlink_to(tmp_path / "secret")
    monkeypatch.chdir(bundle)  # where a runtime would look for them
    (bundle / "model.onnx").write_bytes(external(location))
    edit(bundle)
    assert "another file" in failed(bundle)["structure"]
    with pytest.raises(BadInput, match="another file"):
        measure_file(bundle / "model.onnx", load_target("cpu"))


@pytest.mark.parametrize("name", ["model.onnx", "samples.safetensors"])
@pytest.mark.parametrize("leads", ["/etc/hostname", "/dev/zero"])
def test_links_and_devices_are_refused(bundle: Path, name: str, leads: str) -> None:
    (bundle / name).unlink()
    (bundle / name).symlink_to(leads)
    with pytest.raises(BadInput, match="symbolic link"):
        verify_bundle(bundle)
    (bundle / name).unlink()
    os.mkfifo(bundle / name)  # would block whoever opened it
    assert "missing" in failed(bundle)["files"]


def test_a_tensor_of_ten_gigabytes_in_an_onnx_header_is_refused_in_little_memory(tmp_path: Path) -> None:
    elements = 10 * GIB // 4
    lying = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[elements], raw_data=bytes(16))
    size = helper.make_tensor("n", TensorProto.INT64, [1], [elements])
    made = helper.make_node("ConstantOfShape", ["n"], ["w"])
    growing = onnx.load_model_from_string(model_with(size, made))
    for name, model in (("lying", model_with(lying)), ("growing", growing.SerializeToString())):
        (tmp_path / f"{name}.onnx").write_bytes(model)
        assert fault(model, (3, 16, 16)) is not None
    code = (
        "import sys; from hwnas.deploy.structure import fault\n"
        "print(fault(open(sys.argv[1], 'rb').read(), (3, 16, 16)))"
    )
    for name, said in (("lying", "check"), ("growing", "computes a tensor")):
        done = within(4, code, tmp_path / f"{name}.onnx")
        assert done.returncode == 0 and said in done.stdout, done.stderr[-500:]


def test_a_tensor_of_ten_gigabytes_in_a_safetensors_header_is_refused(bundle: Path) -> None:
    header = {"inputs": {"dtype": "F32", "shape": [10 * GIB // 4], "data_offsets": [0, 10 * GIB]}}
    for text in (json.dumps(header), json.dumps(header).replace("F32", "Q9"), "{" * 1000):
        content = struct.pack("<Q", len(text)) + text.encode() + bytes(64)
        (bundle / "samples.safetensors").write_bytes(content)
        edit(bundle)
        with pytest.raises(BadInput, match="samples"):
            verify_bundle(bundle)
    (bundle / "samples.safetensors").write_bytes(struct.pack("<Q", 10 * GIB) + b"{}")
    edit(bundle)
    with pytest.raises(BadInput, match="samples"):
        verify_bundle(bundle)


def zipped(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def test_an_archive_of_arrays_writes_nothing_and_does_not_burst(tmp_path: Path) -> None:
    """npz files are zips: published latencies come as such."""
    from hwnas.core.arrays import Arrays

    inside = io.BytesIO()
    np.save(inside, np.arange(3))
    outside = zipped(tmp_path / "outside.npz", "../../escaped.npy", inside.getvalue())
    before = {path.name for path in tmp_path.parent.iterdir()} | {path.name for path in tmp_path.iterdir()}
    with pytest.raises(BadInput):
        Arrays(outside).numbers("latency")
    assert {path.name for path in tmp_path.parent.iterdir()} | {path.name for path in tmp_path.iterdir()} == before

    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    header += f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10 * GIB // 8},), }}".encode().ljust(117) + b"\n"
    code = "import sys; from hwnas.core.arrays import Arrays; from pathlib import Path; Arrays(Path(sys.argv[1]))"
    for name, content in (("header", header), ("bomb", header + bytes(GIB))):
        done = within(4, code, zipped(tmp_path / f"{name}.npz", "latency.npy", content))
        assert "BadInput" in done.stderr and "MemoryError" not in done.stderr.splitlines()[-1], done.stderr[-500:]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def test_class_names_can_neither_break_the_model_card_nor_bring_in_html_or_links(bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    tags = Tags()
    tags.feed(re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    assert tags.seen == []
    assert "\x1b" not in text and not re.search(r"(?<!\\)\]\(", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert next(line for line in text.splitlines() if line.startswith("#")) == "# tiny network"
    assert "os.system" not in "".join(re.findall(r"```python.*?```", text, flags=re.DOTALL))
    assert json.loads((bundle / "manifest.json").read_text())["class_names"] == list(EVIL)
    verify_bundle(bundle).raise_for_failure()


def test_markdown_is_shown_as_it_was_written() -> None:
    assert plain("a<b>&c\n\td") == "a&lt;b&gt;&amp;c d"
    assert plain("|[x](y)`*_#\\") == r"\|\[x\](y)\`\*\_\#\\"
    assert plain("x" * 500, 60) == "x" * 59 + "…"


@pytest.mark.slow
def test_class_folders_with_such_names_go_through_a_run_and_its_page(workspace: Path) -> None:
    """Paths and names come from the file system: a page that shows them must not run them."""
    from PIL import Image

    names = ("<script>alert(1)<_script>", "a|b`c")
    for part in ("train", "val"):
        for number, name in enumerate(names):
            folder = workspace / "images" / part / name
            folder.mkdir(parents=True)
            for image in range(12):
                pixels = np.full((16, 16, 3), 20 * image + 5 * number, np.uint8)
                Image.fromarray(pixels).save(folder / f"{image}.png")
    arguments = ("--set", "training.batch_size=8", "--set", "search.batch_size=8", "--set", "space.widths=[8,8]")
    out = workspace / "<img src=x onerror=alert(1)>"
    data = ("--data", "imagefolder", "--data-dir", workspace / "images", "--set", "data.limit=null")
    outcome = hwnas("run", "--config", "tiny.yaml", "--out", out, "--quiet", *data, *arguments)
    assert outcome.code == 0, outcome.stderr
    page = (out / "report.html").read_text()
    for evil in (names[0], out.name):
        assert evil not in page
    assert "<script>" not in (out / "bundle" / "README.md").read_text()
    assert hwnas("verify", out / "bundle", "--quiet").code == 0
