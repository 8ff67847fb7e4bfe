"""A network for Arm's NPU, from the search to the file that Vela wrote: the same cycles, the same answers."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ethosu", reason="needs ethos-u-vela")
pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

from bundles import PREPROCESSING, edit, tiny_network, write

from hwnas.core.target import Target, load_target
from hwnas.deploy.samples import logits_of
from hwnas.deploy.verify import verify_bundle
from hwnas.devices import open_runtime
from hwnas.exporters.ethos_u import EthosU
from hwnas.exporters.onnx import to_onnx
from hwnas.latency.graphs import network_graph

TARGET = load_target("ethos-u55-128")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8)


@pytest.fixture(scope="module")
def files(pixels: torch.Tensor) -> tuple[bytes, ...]:
    """With real weights and real calibration."""
    _, network = tiny_network()
    inputs = PREPROCESSING.inputs(pixels)
    return EthosU(target=TARGET).convert(to_onnx(network, inputs), inputs.numpy())


def test_the_file_costs_what_the_search_was_told(files: tuple[bytes, ...]) -> None:
    """The search prices networks with random weights, which Vela packs as well as others: within 2 %."""
    space, _ = tiny_network()
    runtime = open_runtime(TARGET)
    told = runtime.load(network_graph(space, space.reference(), runtime)).time_ns()
    assert runtime.load_exported(*files).time_ns() == pytest.approx(told, rel=0.02)


def test_everything_runs_on_the_npu(files: tuple[bytes, ...]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(files[0], 0))
    (graph,) = model.subgraphs
    (operator,) = graph.operators
    assert model.operatorCodes[operator.opcodeIndex].customCode == b"ethos-u"


def test_its_answers_are_the_networks(files: tuple[bytes, ...], pixels: torch.Tensor) -> None:
    _, network = tiny_network()
    inputs = PREPROCESSING.inputs(pixels)
    got = open_runtime(TARGET).load_exported(*files).infer(inputs.numpy())
    assert (got.argmax(1) == logits_of(network, inputs).numpy().argmax(1)).mean() > 0.9


def test_another_npus_file_is_another_file(files: tuple[bytes, ...]) -> None:
    from hwnas.core.errors import BadInput

    larger = open_runtime(TARGET.model_copy(update={"options": TARGET.options | {"accelerator": "ethos-u55-256"}}))
    with pytest.raises(BadInput, match="another NPU") as refused:
        larger.load_exported(*files)
    assert "hwnas rebuild" in refused.value.mend


def test_a_bundle_for_the_npu_is_verified_and_a_swapped_source_is_caught(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", TARGET, ["ethos-u", "litert-int8"])
    outcome = verify_bundle(bundle)
    outcome.raise_for_failure()
    details = {check.name: check.detail for check in outcome.checks}
    assert "model.vela.tflite" in details["parity"] and "NOT VERIFIED" not in details["parity"]
    assert "estimated (ethos-u-vela" in details["latency"]
    swapped = np.frombuffer((bundle / "model.vela.tflite").read_bytes(), np.uint8).copy()
    swapped[len(swapped) // 2] ^= 1
    (bundle / "model.vela.tflite").write_bytes(swapped.tobytes())
    edit(bundle)
    failed = {check.name: check.detail for check in verify_bundle(bundle).checks if not check.ok}
    assert "hwnas rebuild" in failed["parity"]


def test_the_exporters_own_default_is_the_smallest_common_npu() -> None:
    assert EthosU(target=Target(name="t", runtime="onnxruntime")).target == EthosU.judge
