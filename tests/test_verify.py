"""A bundle is verified from its own files, and every way to spoil it is caught."""

import json
import shutil
from math import comb
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from bundles import edit, write
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hwnas.core.errors import BadInput, VerificationFailed
from hwnas.core.target import load_target
from hwnas.deploy.parity import compare
from hwnas.deploy.verify import lower_bound, verify_bundle
from hwnas.devices import open_runtime
from hwnas.exporters.onnx import Onnx
from hwnas.latency.fingerprint import fingerprint

TARGET = load_target("cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound bundle of a tiny untrained network, with a budget that any machine meets."""
    return write(tmp_path_factory.mktemp("whole") / "bundle", TARGET)


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def failing(bundle: Path) -> dict[str, str]:
    """The failed checks with their details; the exit code is 5 exactly when there are any."""
    outcome = verify_bundle(bundle, None)
    failed = {check.name: check.detail for check in outcome.checks if not check.ok}
    assert outcome.facts()["ok"] is outcome.ok is not bool(failed)
    if failed:
        with pytest.raises(VerificationFailed, match=next(iter(failed))) as error:
            outcome.raise_for_failure()
        assert error.value.exit_code == 5
    return failed


def rewrite_model(bundle: Path, change) -> None:
    model = onnx.load(bundle / "model.onnx")
    change(model)
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    edit(bundle)


def test_a_sound_bundle_passes_every_check(bundle: Path) -> None:
    outcome = verify_bundle(bundle, None)
    outcome.raise_for_failure()
    names = ["files", "structure", "preprocessing", "parity", "accuracy", "latency"]
    assert [check.name for check in outcome.checks] == names
    assert "skipped" in outcome.checks[4].detail
    assert json.loads(json.dumps(outcome.facts()))["checks"][0].keys() == {"name", "ok", "detail"}
    assert verify_bundle(bundle, "cpu").ok


@pytest.mark.parametrize("name", ["README.md", "arch.json", "model.onnx", "samples.safetensors", "weights.safetensors"])
@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_one_changed_byte_in_any_file_is_caught(bundle: Path, name: str, where: float) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[round(where * (len(content) - 1))] ^= 1
    (bundle / name).write_bytes(content)
    assert name in failing(bundle)["files"]


@pytest.mark.parametrize("name", ["README.md", "arch.json", "model.onnx", "samples.safetensors", "weights.safetensors"])
def test_a_missing_file_is_caught_also_when_the_manifest_hides_it(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert f"missing: {name}" in failing(bundle)["files"]
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    edit(bundle, files={key: value for key, value in files.items() if key != name})
    assert f"not listed: {name}" in failing(bundle)["files"]


def test_a_second_model_is_caught_and_a_users_notes_are_not(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")
    assert not failing(bundle)
    shutil.copy(bundle / "model.onnx", bundle / "better.onnx")
    assert "better.onnx" in failing(bundle)["files"]


def test_a_swapped_model_is_caught_by_its_hash_and_behind_a_mended_hash_by_parity(bundle: Path) -> None:
    def swap(model: onnx.ModelProto) -> None:
        weight = next(t for t in model.graph.initializer if len(t.dims) == 4)
        array = onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(array[::-1].copy(), weight.name))

    before = (bundle / "manifest.json").read_text()
    rewrite_model(bundle, swap)
    assert failing(bundle).keys() == {"parity"}
    (bundle / "manifest.json").write_text(before)
    assert failing(bundle).keys() == {"files"}


def test_a_model_that_answers_nan_for_single_images_fails_parity(bundle: Path) -> None:
    runtime = open_runtime(TARGET)

    class NanAlone:
        def load(self, model: bytes):
            session, infer = runtime.load(model), None
            infer = session.infer
            session.infer = lambda x: infer(x) * (np.float32("nan") if len(x) == 1 else 1)  # type: ignore[method-assign]
            return session

    samples = safetensors.torch.load_file(bundle / "samples.safetensors")
    model = (bundle / "model.onnx").read_bytes()
    assert compare(Onnx, runtime, model, samples["inputs"], samples["logits"]).difference < 1e-4
    found = compare(Onnx, NanAlone(), model, samples["inputs"], samples["logits"])  # type: ignore[arg-type]
    assert np.isnan(found.difference)


def test_a_model_with_weights_elsewhere_is_caught(bundle: Path) -> None:
    def outside(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

    rewrite_model(bundle, outside)
    assert "another file" in failing(bundle)["structure"]


def test_a_model_with_weights_elsewhere_inside_a_branch_is_caught(bundle: Path) -> None:
    def hidden(model: onnx.ModelProto) -> None:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        branch = helper.make_graph([helper.make_node("Constant", [], ["o"], value=tensor)], "branch", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))

    rewrite_model(bundle, hidden)
    assert "another file" in failing(bundle)["structure"]


def test_a_broken_graph_a_stranger_and_a_model_for_other_images_are_caught(bundle: Path) -> None:
    sound = (bundle / "model.onnx").read_bytes()
    rewrite_model(bundle, lambda model: model.graph.node[0].input.__setitem__(0, "nowhere"))
    assert "check" in failing(bundle)["structure"]
    (bundle / "model.onnx").write_bytes(b"\x80\x04not a model")
    edit(bundle)
    assert "no ONNX" in failing(bundle)["structure"]
    (bundle / "model.onnx").write_bytes(sound)
    samples = safetensors.torch.load_file(bundle / "samples.safetensors")
    small = samples | {name: samples[name][..., :8].contiguous() for name in ("inputs", "corner_inputs")}
    safetensors.torch.save_file(small, bundle / "samples.safetensors")
    edit(bundle)
    assert "shape" in failing(bundle)["structure"]


def test_a_model_over_budget_is_caught(bundle: Path) -> None:
    edit(bundle, budget_ms=1e-6)
    assert "budget 1e-06 ms" in failing(bundle)["latency"]


def test_another_machine_is_named(bundle: Path) -> None:
    identity = dict(fingerprint(open_runtime(TARGET)).identity) | {"device": "a telephone"}
    edit(bundle, fingerprint=identity)
    detail = verify_bundle(bundle, None).checks[-1].detail
    assert "a telephone" in detail and "driver" not in detail


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "manifest.json", "a\0b"]
)
def test_a_name_outside_the_folder_is_refused(bundle: Path, name: str) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    edit(bundle, files=files | {name: 64 * "0"})
    with pytest.raises(BadInput, match="not one of this folder"):
        verify_bundle(bundle, None)


def test_symbolic_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "manifest.json"):
        moved = (bundle / name).rename(tmp_path / name)
        (bundle / name).symlink_to(moved)
        with pytest.raises(BadInput, match=name):
            verify_bundle(bundle, None)
        (bundle / name).unlink()
        moved.rename(bundle / name)


def test_a_runtime_that_is_a_file_is_never_run(bundle: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
    edit(bundle, target=TARGET.model_dump(mode="json") | {"runtime": str(trap)})
    with pytest.raises(BadInput, match="runtime"):
        verify_bundle(bundle, None)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"files": {}}', b" " * (2 << 20)],
    ids=["empty", "torn", "list", "not text", "deep", "without facts", "huge"],
)
def test_an_unreadable_manifest_is_bad_input(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BadInput) as error:
        verify_bundle(bundle, None)
    assert error.value.exit_code == 2


def test_a_manifest_torn_anywhere_is_bad_input(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_bytes().rstrip()
    for length in range(0, len(text), 97):
        (bundle / "manifest.json").write_bytes(text[:length])
        with pytest.raises(BadInput):
            verify_bundle(bundle, None)


@pytest.mark.parametrize("facts", [{"budget_ms": -1.0}, {"budget_ms": float("nan")}, {"predicted_ms": None}])
def test_impossible_facts_are_bad_input(bundle: Path, facts: dict[str, object]) -> None:
    edit(bundle, **facts)
    with pytest.raises(BadInput):
        verify_bundle(bundle, None)


def test_a_missing_folder_or_manifest_is_bad_input(bundle: Path, tmp_path: Path) -> None:
    (bundle / "manifest.json").unlink()
    for folder in (bundle, tmp_path / "nowhere"):
        with pytest.raises(BadInput, match=r"manifest\.json"):
            verify_bundle(folder, None)


def test_samples_that_are_none_are_bad_input(bundle: Path) -> None:
    lying_header = (1 << 40).to_bytes(8, "little") + b"{}"
    for content in (b"", lying_header, safetensors.torch.save({"inputs": torch.zeros(1)})):
        (bundle / "samples.safetensors").write_bytes(content)
        edit(bundle)
        with pytest.raises(BadInput, match="samples"):
            verify_bundle(bundle, None)


@given(st.lists(st.floats(0.01, 100), min_size=7, max_size=60))
def test_the_lower_bound_has_its_confidence_and_no_higher_one_would(values: list[float]) -> None:
    """P(the k-th smallest of n lies above the median) = P(fewer than k of n fall below it), for any distribution."""
    n, ordered = len(values), np.arange(len(values), dtype=float)
    rank = int(lower_bound(ordered))  # 0-based

    def risk(k: int) -> float:
        return sum(comb(n, i) for i in range(k)) / 2**n

    assert risk(rank + 1) <= 0.01 < risk(rank + 2)
    assert lower_bound(np.sort(values)) == np.sort(values)[rank]
