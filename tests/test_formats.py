"""Every format of a bundle is verified by what runs it: altered, swapped, or meant for another device, it is caught."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
from bundles import PREPROCESSING, edit, write

from hwnas.core.config import PluginSettings
from hwnas.core.errors import BadInput
from hwnas.core.plugins import catalogue
from hwnas.core.target import load_target
from hwnas.deploy.rebuild import rebuild_bundle
from hwnas.deploy.verify import verify_bundle

NEEDED = {"openvino-int8", "tensorrt"}
MISSING = NEEDED - {plugin.name for plugin in catalogue("exporters") if plugin.available}
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs the packages of {', '.join(sorted(MISSING))}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("formats") / "bundle", load_target("cpu"), sorted(NEEDED))


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def checks(bundle: Path, *arguments) -> dict[str, str]:
    """The failed checks with their details."""
    return {check.name: check.detail for check in verify_bundle(bundle, *arguments).checks if not check.ok}


def test_each_format_is_compared_and_what_cannot_run_here_is_said_to_be_unverified(bundle: Path) -> None:
    outcome = verify_bundle(bundle)
    outcome.raise_for_failure()
    parity = next(check.detail for check in outcome.checks if check.name == "parity")
    for name in ("model.onnx", "model.int8.xml"):
        assert f"{name} " in parity.partition("NOT VERIFIED")[0]
    assert "NOT VERIFIED model.engine: " in parity and "hwnas verify" in parity


def test_one_changed_byte_of_any_file_is_caught(bundle: Path) -> None:
    names = json.loads((bundle / "manifest.json").read_text())["files"]
    assert {"model.int8.bin", "model.engine", "model.engine.json"} <= names.keys()
    for name in names:
        content = (bundle / name).read_bytes()
        middle = len(content) // 2
        (bundle / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        assert f"altered: {name}" in checks(bundle)["files"]
        (bundle / name).write_bytes(content)


def test_another_networks_weights_behind_a_mended_hash_fail_parity(bundle: Path) -> None:
    weights = np.frombuffer((bundle / "model.int8.bin").read_bytes(), np.int8).copy()
    (bundle / "model.int8.bin").write_bytes(weights[::-1].tobytes())
    edit(bundle)
    assert "model.int8.xml" in checks(bundle)["parity"]


def test_a_file_that_kills_its_library_is_a_failed_check_and_not_a_crash(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
    bundle = write(tmp_path / "bundle", load_target("cpu"), ["litert"])
    tflite = bytearray((bundle / "model.tflite").read_bytes())
    tflite[64:4096] = b"\xff" * (4096 - 64)
    (bundle / "model.tflite").write_bytes(tflite)
    edit(bundle)
    assert checks(bundle).keys() == {"parity"}


@pytest.mark.parametrize("damage", ["hidden", "shuffled", "path"])
def test_a_wrong_list_of_formats_is_caught(bundle: Path, damage: str, tmp_path: Path) -> None:
    formats = json.loads((bundle / "manifest.json").read_text())["formats"]
    if damage == "hidden":
        del formats["openvino-int8"]
        edit(bundle, formats=formats)
        assert "model.int8.bin belongs to no format" in checks(bundle)["structure"]
    elif damage == "shuffled":
        edit(bundle, formats=formats | {"openvino-int8": ["model.int8.bin", "model.int8.xml"]})
        with pytest.raises(BadInput, match="openvino-int8"):
            verify_bundle(bundle)
    else:
        trap = tmp_path / "trap.py"
        trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
        edit(bundle, formats={str(trap) if key == "openvino-int8" else key: files for key, files in formats.items()})
        parity = next(check.detail for check in verify_bundle(bundle).checks if check.name == "parity")
        assert "NOT VERIFIED model.int8.xml" in parity and not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("where", ["manifest", "onnx", "everywhere"])
def test_drifted_preprocessing_is_caught(bundle: Path, where: str) -> None:
    """Also when the manifest and the ONNX file agree on the drift: the samples' pixels do not."""
    drifted = PREPROCESSING.model_copy(update={"mean": (0.5, 0.41, 0.6)})
    if where != "manifest":
        model = onnx.load(bundle / "model.onnx")
        for entry in model.metadata_props:
            entry.value = drifted.metadata([]).get(entry.key, entry.value) if entry.key == "mean" else entry.value
        (bundle / "model.onnx").write_bytes(model.SerializeToString())
    facts = {} if where == "onnx" else {"preprocessing": drifted.model_dump(mode="json")}
    edit(bundle, **facts)
    found = checks(bundle)
    assert found.keys() == {"preprocessing"}
    assert ("mean" in found["preprocessing"]) == (where != "everywhere")


def test_other_class_names_than_the_files_are_caught(bundle: Path) -> None:
    edit(bundle, class_names=[f"class {number}" for number in range(9)] + ["another"])
    assert "class_names" in checks(bundle)["preprocessing"]


def fake_gpu(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose nvidia-smi tells of a GPU."""
    folder.mkdir()
    answer = f'case "$*" in *compute_cap*) echo 8.9;; *) echo "{name}, 570.1";; esac'
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{answer}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_an_engine_for_another_gpu_is_caught_with_the_command_that_rebuilds_it(
    bundle: Path, tmp_path: Path, monkeypatch
) -> None:
    from hwnas.formats import engine_facts

    sidecar = json.loads((bundle / "model.engine.json").read_text())
    facts = engine_facts.EngineFacts.model_validate(sidecar)
    here = (facts.library, facts.version, "NVIDIA L4", "8.9")
    engine_facts.require_for(facts, *here)
    foreign = facts.model_copy(update={"gpu": "NVIDIA A100", "compute_capability": "8.0"})
    for other, match in ((foreign, "A100"), (facts.model_copy(update={"version": "1.0"}), "1.0")):
        with pytest.raises(BadInput, match=match) as refused:
            engine_facts.require_for(other, *here)
        assert "hwnas rebuild" in refused.value.mend

    (bundle / "model.engine.json").write_bytes(foreign.to_json())
    edit(bundle)
    assert "parity" not in checks(bundle), "without a GPU nothing can be said"
    fake_gpu(tmp_path / "bin", "NVIDIA L4", monkeypatch)
    found = checks(bundle)["parity"]
    assert "NVIDIA A100" in found and "NVIDIA L4" in found and "hwnas rebuild" in found


def test_an_engine_is_rebuilt_from_the_bundle_alone(bundle: Path) -> None:
    before = (bundle / "model.engine.onnx").read_bytes()
    assert rebuild_bundle(bundle) == ["tensorrt"]
    verify_bundle(bundle).raise_for_failure()
    assert (bundle / "model.engine.onnx").read_bytes() == before
    (bundle / "model.engine.onnx").write_bytes(before[:-1])
    with pytest.raises(BadInput, match=r"model\.engine\.onnx"):
        rebuild_bundle(bundle)


def test_accuracy_is_asked_for_every_format(bundle: Path, monkeypatch) -> None:
    from hwnas.training.datasets import Images, RawData
    from hwnas.training.datasets.digits import Digits

    samples = safetensors.torch.load_file(bundle / "samples.safetensors")
    images = Images(samples["pixels"].numpy(), samples["logits"].argmax(1).numpy())
    names = tuple(json.loads((bundle / "manifest.json").read_text())["class_names"])
    monkeypatch.setattr(Digits, "load", lambda self, resolution: RawData(images, images, names, False))
    data = PluginSettings(name="digits")
    outcome = verify_bundle(bundle, None, data)
    detail = next(check.detail for check in outcome.checks if check.name == "accuracy")
    assert "model.onnx 100.00 %" in detail and "model.int8.xml " in detail and "model.engine NOT VERIFIED" in detail
    edit(bundle, accuracy=1.0)
    wrong = Images(images.pixels, (images.labels + 1) % 10)
    monkeypatch.setattr(Digits, "load", lambda self, resolution: RawData(wrong, wrong, names, False))
    assert "model.onnx 0.00 %" in checks(bundle, None, data)["accuracy"]
    monkeypatch.setattr(Digits, "load", lambda self, resolution: RawData(wrong, wrong, ("a", "b"), False))
    with pytest.raises(BadInput, match="classes"):
        verify_bundle(bundle, None, data)
