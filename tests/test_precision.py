"""A target's precision, from what is timed to what is shipped."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from bundles import with_metadata
from conftest import TINY, hwnas
from onnx import numpy_helper

from hwnas.core.errors import Unavailable, VerificationFailed
from hwnas.core.files import sha256
from hwnas.core.target import Target, load_target
from hwnas.deploy.bundle import Contents, write_bundle
from hwnas.deploy.card import Card
from hwnas.deploy.file_network import FileNetwork
from hwnas.deploy.measure import Measured, measure_file
from hwnas.deploy.parity import Parity, compare, require_parity
from hwnas.deploy.preprocessing import Preprocessing
from hwnas.deploy.samples import SAMPLES, Samples, logits_of
from hwnas.deploy.structure import metadata
from hwnas.deploy.verify import verify_bundle
from hwnas.devices import open_runtime
from hwnas.exporters import DEPLOYED, onnx_int8
from hwnas.exporters.onnx import Onnx
from hwnas.exporters.onnx_fp16 import OnnxFp16
from hwnas.exporters.onnx_int8 import OnnxInt8
from hwnas.formats.fp16 import to_fp16
from hwnas.formats.int8 import quantize
from hwnas.formats.precision import precision_of
from hwnas.formats.sensitivity import quantize_sparing
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.graphs import network_graph, operator_graph
from hwnas.operators import onnx_graph
from hwnas.run import networks
from hwnas.run.config import RunConfig, resolve
from hwnas.run.export import deployed_file, export_all
from hwnas.run.networks import Network, choose, narrow
from hwnas.training.compute import Device
from hwnas.training.data import Data, open_data
from hwnas.training.network import accuracy, train
from hwnas.training.settings import Compute

INT8 = load_target("cpu-int8")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return resolve({"target": "cpu-int8"} | {key: TINY[key] for key in ("space", "budget", "compute")})


@pytest.fixture(scope="module")
def data() -> Data:
    return open_data("digits", {}, 16, 0)


@pytest.fixture(scope="module")
def trained(tiny_space, config: RunConfig, data: Data) -> torch.nn.Module:
    """The reference, trained for seconds to about 95 %."""
    torch.manual_seed(0)
    network = tiny_space.build(tiny_space.reference())
    recipe = config.training.model_copy(update={"epochs": 6})
    return train(network, data.train, recipe, Device(Compute(device="cpu", threads=1)), 0, "train")


@pytest.fixture(scope="module")
def exact(trained: torch.nn.Module, tiny_space) -> bytes:
    return onnx_graph.write(trained, tiny_space.input_shape)


@pytest.mark.parametrize("form", ["u8s7", "s8s8"])
def test_int8_costs_a_trained_network_less_than_a_point(form, exact: bytes, trained, data: Data) -> None:
    device = Device(Compute(device="cpu", threads=1))
    session = open_runtime(INT8).load(quantize(exact, data.train.spread(256).contiguous().numpy(), form))
    before = accuracy(trained, data.search.plain(), device)
    after = accuracy(FileNetwork(session), data.search.plain(), device)
    assert before > 0.8
    assert after > before - 0.01


@pytest.mark.parametrize("name", ["cpu", "cpu-int8"])
def test_what_is_timed_has_the_targets_precision(name: str, tiny_space) -> None:
    runtime = open_runtime(load_target(name))
    precision = runtime.target.precision
    assert precision_of(network_graph(tiny_space, tiny_space.reference(), runtime)) == precision
    for conditional in tiny_space.operators():
        assert precision_of(operator_graph(conditional.spec, runtime)) == precision


def test_networks_are_chosen_by_their_time_in_the_targets_precision(
    tiny_space, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def measured(models, *_: object) -> dict[str, Measured]:
        seen.extend(precision_of(model) for model in models.values())
        return dict.fromkeys(models, Measured(1.0, 1.0, 1, 0.0))

    monkeypatch.setattr(networks, "measure", measured)
    choose([tiny_space.reference()], tiny_space, config, "winner")
    narrow(tiny_space, config)
    assert len(seen) > 3 and set(seen) == {"int8"}


@pytest.mark.parametrize(
    ("target", "module", "own"),
    [
        ("openvino", "openvino", "openvino"),
        ("openvino-int8", "openvino", "openvino-int8"),
        ("litert", "ai_edge_litert", "litert"),
        ("litert-int8", "ai_edge_litert", "litert-int8"),
        ("ethos-u55-128", "ethosu", "ethos-u"),
    ],
)
def test_the_winner_comes_in_its_targets_own_format_and_costs_there_what_the_measured_file_does(
    target: str, module: str, own: str, tiny_space, config: RunConfig, data: Data, trained, tmp_path: Path
) -> None:
    pytest.importorskip(module)
    there = config.model_copy(update={"target": load_target(target)})
    networks = [Network("winner", tiny_space, tiny_space.reference())]
    found = export_all(networks, {"winner": trained}, there, data, tmp_path)["winner"]
    assert set(found) == {DEPLOYED[there.target.precision], own, "onnx"}
    runtime = open_runtime(there.target)
    if runtime.estimate:
        measured = runtime.load(next(iter(found.values())).content).time_ns()
        assert runtime.load_exported(*found[own].files.values()).time_ns() == measured


def test_a_board_far_away_is_given_what_its_runtime_takes() -> None:
    pytest.importorskip("ai_edge_litert")
    there = open_runtime(Target(name="t", runtime="litert", precision="int8", host="ssh://nobody@127.0.0.1:1"))
    assert (there.int8_form, there.mixed, there.own_format["int8"]) == ("u8s8", False, "litert-int8")


def test_only_what_the_npu_itself_runs_has_weights_that_a_plain_cpu_cuts_off(
    tiny_space, config: RunConfig, data: Data, trained, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    networks, largest = [Network("winner", tiny_space, tiny_space.reference())], {}
    for target in ("litert-int8", "litert"):
        there = config.model_copy(update={"target": load_target(target), "exporters": ("onnx-int8",)})
        found = export_all(networks, {"winner": trained}, there, data, tmp_path / target)["winner"]["onnx-int8"]
        graph = onnx.load_model_from_string(found.content).graph
        weights = [numpy_helper.to_array(i) for i in graph.initializer if i.data_type == onnx.TensorProto.INT8]
        largest[target] = max(int(np.abs(w.astype(int)).max()) for w in weights)
    assert largest == {"litert-int8": 127, "litert": 63}


def test_each_network_is_exported_as_it_is_deployed_and_calibrated_on_training_images(
    tiny_space, config: RunConfig, data: Data, trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrations = []

    def watched(model: bytes, samples: np.ndarray, *arguments: Any) -> bytes:
        calibrations.append(samples)
        return quantize_sparing(model, samples, *arguments)

    monkeypatch.setattr(onnx_int8, "quantize_sparing", watched)
    both = [Network(role, tiny_space, tiny_space.reference()) for role in ("winner", "reference")]
    exported = export_all(both, {"winner": trained, "reference": trained}, config, data, tmp_path)
    assert {role: set(formats) for role, formats in exported.items()} == {
        "winner": {"onnx", "onnx-int8"},
        "reference": {"onnx-int8"},
    }
    assert deployed_file(config.target) == "model.int8.onnx"
    for name, found in exported["winner"].items():
        (file,) = found.files
        assert precision_of(found.content) == ("int8" if "int8" in name else "fp32")
        assert (tmp_path / "winner" / file).read_bytes() == found.content
        assert {"hwnas.target", "mean", "std", "class_names", "input_size"} <= metadata(found.content).keys()
    training = {image.tobytes() for image in data.train.inputs(torch.from_numpy(data.train.images.pixels)).numpy()}
    for samples in calibrations:
        assert len(samples) == 256
        assert {image.tobytes() for image in samples} <= training
    assert exported["winner"]["onnx-int8"] == exported["reference"]["onnx-int8"]


def test_answers_between_logits_that_are_nearly_equal_count_as_kept() -> None:
    class Answering:
        def __init__(self, logits: np.ndarray) -> None:
            self.logits, self.at = logits, 0

        def load(self, _: bytes) -> "Answering":
            return self

        def infer(self, x: np.ndarray) -> np.ndarray:
            start, self.at = self.at % len(self.logits), self.at + len(x)
            return self.logits[start : start + len(x)]

        def close(self) -> None: ...

    logits = torch.tensor([[10.0, 9.8, 0.0], [0.0, 10.0, 2.0], [3.0, 0.0, 10.0], [0.0, 10.0, 0.0]])
    swapped = logits.numpy().copy()
    swapped[0] = [9.7, 9.9, 0.0]  # 2 % of the largest logit apart: a tie
    inputs = torch.zeros(4, 1)
    parity = compare(OnnxInt8, Answering(swapped), b"", inputs, logits)  # type: ignore[arg-type]
    assert parity.kept == 1.0 and parity.difference == pytest.approx(0.3)
    require_parity(parity, OnnxInt8, "m")
    with pytest.raises(VerificationFailed, match="differs"):
        require_parity(parity, Onnx, "m")
    swapped[1] = [10.0, 9.9, 0.0]  # another answer
    parity = compare(OnnxInt8, Answering(swapped), b"", inputs, logits)  # type: ignore[arg-type]
    assert parity.kept == 0.75
    with pytest.raises(VerificationFailed, match="75"):
        require_parity(parity, OnnxInt8, "m")
    for broken in (float("nan"), float("inf")):
        with pytest.raises(VerificationFailed):
            require_parity(Parity(broken, 1.0, 1.0), OnnxInt8, "m")


@pytest.fixture(scope="module")
def whole(trained, exact: bytes, tiny_space, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the trained network in int8, with a budget that any machine meets."""
    preprocessing = Preprocessing.of(data, data.search.resolution)
    names = data.class_names
    pixels = torch.from_numpy(data.search.images.pixels[:SAMPLES])
    facts = {
        "accuracy": 0.5,
        "preprocessing": preprocessing.model_dump(),
        "class_names": list(names),
        "schema_version": 1,
        "deployed": "model.int8.onnx",
        "target": INT8.model_dump(mode="json"),
        "fingerprint": dict(fingerprint(open_runtime(INT8)).identity),
        "predicted_ms": 1.0,
        "budget": "1000ms",
        "budget_ms": 1000.0,
    }
    told = with_metadata(exact, preprocessing.metadata(names))
    whole = quantize(told, data.train.spread(256).contiguous().numpy(), "u8s7")
    card = Card("int8", {}, preprocessing, names, SAMPLES, {})
    formats = {"onnx": {"model.onnx": told}, "onnx-int8": {"model.int8.onnx": whole}}
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    samples = Samples.of(trained, pixels, preprocessing.inputs(pixels))
    write_bundle(folder, Contents(formats, trained.state_dict(), {"arch": []}, samples, facts, card))
    return folder


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def edit(bundle: Path, **facts: object) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text()) | facts
    manifest["files"] = {name: sha256(bundle / name) for name in manifest["files"] if (bundle / name).exists()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_a_sound_int8_bundle_passes_and_its_deployed_file_is_what_is_timed(bundle: Path, monkeypatch) -> None:
    from hwnas.deploy import verify

    timed, time_rounds = [], verify.time_rounds

    def watched(models: dict[str, bytes], *arguments: object, **named: object):
        timed.append(models)
        return time_rounds(models, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(verify, "time_rounds", watched)
    outcome = verify_bundle(bundle)
    outcome.raise_for_failure()
    assert [*timed[0].values()] == [(bundle / "model.int8.onnx").read_bytes()]
    parity = next(check.detail for check in outcome.checks if check.name == "parity")
    assert "model.int8.onnx" in parity and "model.onnx" in parity
    assert 'InferenceSession("model.int8.onnx"' in (bundle / "README.md").read_text()


def test_another_networks_int8_file_fails_parity(bundle: Path, tiny_space, data: Data) -> None:
    torch.manual_seed(1)
    other = onnx_graph.write(tiny_space.build(tiny_space.reference()), tiny_space.input_shape)
    other = with_metadata(other, metadata((bundle / "model.onnx").read_bytes()))
    (bundle / "model.int8.onnx").write_bytes(quantize(other, data.train.spread(64).contiguous().numpy(), "u8s7"))
    edit(bundle)
    failed = {check.name: check.detail for check in verify_bundle(bundle).checks if not check.ok}
    assert "model.int8.onnx keeps" in failed["parity"]


def test_a_rounded_file_under_the_exact_files_name_fails_parity(bundle: Path) -> None:
    shutil.copy(bundle / "model.int8.onnx", bundle / "model.onnx")
    edit(bundle)
    failed = {check.name: check.detail for check in verify_bundle(bundle).checks if not check.ok}
    assert "model.onnx differs" in failed["parity"]


def test_a_bundle_without_the_file_it_deploys_is_caught(bundle: Path) -> None:
    (bundle / "model.int8.onnx").unlink()
    edit(bundle)
    failed = {check.name: check.detail for check in verify_bundle(bundle).checks if not check.ok}
    assert "not listed: model.int8.onnx" in failed["files"]


def test_a_file_of_another_precision_is_timed_and_said_to_be_so(bundle: Path, capsys) -> None:
    facts = measure_file(bundle / "model.onnx", INT8)
    assert facts["precision"] == "fp32"
    assert "is fp32" in capsys.readouterr().err
    assert measure_file(bundle / "model.int8.onnx", INT8)["precision"] == "int8"
    assert "warning" not in capsys.readouterr().err


def test_half_precision_keeps_the_logits(exact: bytes, trained, data: Data) -> None:
    halves = to_fp16(exact)
    assert precision_of(halves) == "fp16"
    onnx.checker.check_model(onnx.load_model_from_string(halves), full_check=True)
    inputs = data.search.spread(32)
    parity = compare(OnnxFp16, open_runtime(load_target("cpu")), halves, inputs, logits_of(trained, inputs))
    require_parity(parity, OnnxFp16, "model.fp16.onnx")
    assert parity.difference > 1e-6


def test_a_provider_says_which_precisions_it_runs() -> None:
    with pytest.raises(Unavailable, match="fp16") as refused:
        open_runtime(Target(name="t", runtime="onnxruntime", precision="fp16"))
    assert "fp32, int8" in refused.value.mend
    with pytest.raises(Unavailable, match="int8"):
        open_runtime(Target(name="t", runtime="onnxruntime", provider="CUDAExecutionProvider", precision="int8"))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu-int8", "openvino-int8"])
def test_a_whole_run_ships_what_it_searched_for(bare: Path, target: str) -> None:
    if target.startswith("openvino"):
        pytest.importorskip("openvino", reason="openvino is not installed")
    outcome = hwnas("run", "--config", "tiny.yaml", "--target", target, "--out", "r", "--json")
    assert outcome.code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    manifest = json.loads((bare / "r" / "bundle" / "manifest.json").read_text())
    table = json.loads((bare / "latency_tables" / f"{target}.json").read_text())
    assert table["fingerprint"]["identity"]["precision"] == "int8"
    assert manifest["deployed"] == "model.int8.onnx"
    assert {"model.onnx", "model.int8.onnx"} <= manifest["files"].keys()

    runtime = open_runtime(load_target(target))
    session = runtime.load((bare / "r" / "bundle" / "model.int8.onnx").read_bytes())
    tiny = open_data("digits", {"limit": 200}, 16, 0).open_test()
    assert accuracy(FileNetwork(session), tiny.plain(), Device(Compute(device="cpu", threads=1))) == result["accuracy"]
    samples = safetensors.torch.load_file(bare / "r" / "bundle" / "samples.safetensors")
    assert len(samples["inputs"]) == SAMPLES
    assert hwnas("verify", "r/bundle").code == 0
    assert result["within_budget"] is True
