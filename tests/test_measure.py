"""Measuring an ONNX file: its facts, and what is refused."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from hwnas.core.errors import BadInput
from hwnas.core.target import load_target
from hwnas.deploy.measure import measure_file
from hwnas.operators import onnx_graph

TARGET = load_target("cpu")


def write(path: Path, *inputs: onnx.ValueInfoProto) -> Path:
    """A graph that adds up its inputs."""
    names = [value.name for value in inputs]
    y = helper.make_tensor_value_info("y", inputs[0].type.tensor_type.elem_type, None)
    graph = helper.make_graph([helper.make_node("Sum", names, ["y"])], "sum", list(inputs), [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def value(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def test_the_facts_of_a_model(tmp_path: Path) -> None:
    file = tmp_path / "conv.onnx"
    file.write_bytes(onnx_graph.write(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (3, 16, 16)))
    facts = measure_file(file, TARGET)
    assert (facts["model"], facts["target"]) == (str(file), "cpu")
    assert 0 < facts["p10_ms"] <= facts["median_ms"] <= facts["p90_ms"]
    assert facts["samples"] >= 7 * facts["rounds"] >= 140
    assert facts["variation"] >= 0
    assert facts["fingerprint"]["runtime"] == "onnxruntime"


def test_more_work_takes_longer(tmp_path: Path) -> None:
    medians = []
    for width in (4, 128):
        file = tmp_path / f"{width}.onnx"
        file.write_bytes(onnx_graph.write(nn.Sequential(nn.Conv2d(3, width, 5)), (3, 32, 32)))
        medians.append(measure_file(file, TARGET)["median_ms"])
    assert medians[1] > 2 * medians[0]


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    strange = tmp_path / "strange.onnx"
    strange.write_bytes(b"\x80\x04\x95 not a model")
    pickled = tmp_path / "pickled.onnx"
    torch.save({"weights": torch.zeros(1)}, pickled)
    for path, said in [(tmp_path / "none.onnx", "cannot read"), (tmp_path, "regular"), (strange, "refuses")]:
        with pytest.raises(BadInput, match=said):
            measure_file(path, TARGET)
    with pytest.raises(BadInput, match="refuses"):
        measure_file(pickled, TARGET)


def test_several_open_or_other_inputs_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    with pytest.raises(BadInput, match="one float input"):
        measure_file(write(file, value("a", ["n", 3]), value("b", ["n", 3])), TARGET)
    with pytest.raises(BadInput, match="one float input"):
        measure_file(write(file, value("a", ["n", 3], TensorProto.DOUBLE)), TARGET)
    with pytest.raises(BadInput, match="open beyond the batch"):
        measure_file(write(file, value("a", ["n", 3, "h", "w"])), TARGET)


def test_a_model_of_another_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="refuses"):
        measure_file(write(tmp_path / "m.onnx", value("a", [7, 3])), TARGET)
