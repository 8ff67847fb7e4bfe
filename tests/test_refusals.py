"""What a format cannot hold is refused before anything is profiled, searched or trained, by operator."""

from pathlib import Path

import pytest
from conftest import hwnas

from hwnas.core.errors import BadInput
from hwnas.core.target import load_target
from hwnas.run.refusals import kinds_of, require_exportable

PICKY = """
from hwnas.core.errors import BadInput
from hwnas.exporters.onnx import Onnx

class Picky(Onnx):
    filename = "picky.onnx"
    asked = []

    def convert(self, model, samples):
        self.asked.append(samples.shape[1:])
        if samples.shape[1:] == (8, 8, 8) or b"classifier" in model:
            raise BadInput("the operator Clip is not known")
        return (model,)
"""


@pytest.fixture
def picky(bare: Path) -> str:
    (bare / "picky.py").write_text(PICKY)
    return "./picky.py"


def test_a_run_ends_before_it_begins_and_names_the_operator(bare: Path, picky: str) -> None:
    outcome = hwnas("run", "--config", "tiny.yaml", "--set", f"exporters=[{picky}]", "--out", "run")
    assert outcome.code == 2
    assert "picky.py cannot hold" in outcome.stderr and "@8x8x8" in outcome.stderr
    assert "the operator Clip is not known" in outcome.stderr and "leave out" in outcome.stderr
    assert not (bare / "latency_tables").exists()


def test_one_operator_of_each_kind_is_asked_for(tiny_space) -> None:
    kinds = kinds_of(tiny_space)
    everything = [conditional.spec for conditional in tiny_space.operators()]
    assert {spec.kind for spec in kinds} == {spec.kind for spec in everything}
    kernels = {(s.kind, s.attributes().get("kernel"), s.attributes().get("expand")) for s in everything}
    assert {(s.kind, s.attributes().get("kernel"), s.attributes().get("expand")) for s in kinds} == kernels
    assert len(kinds) < len(set(everything))


def test_what_the_profiler_times_is_not_asked_again(tiny_space, picky: str) -> None:
    require_exportable(tiny_space, ("onnx", "onnx-int8"), load_target("cpu-int8"))
    with pytest.raises(BadInput, match="cannot hold"):
        require_exportable(tiny_space, ("onnx", picky), load_target("cpu-int8"))


@pytest.mark.parametrize("name", ["onnx-fp16", "onnx-int8", "litert", "openvino", "tensorrt-int8", "ethos-u"])
def test_the_default_spaces_kinds_go_through(name: str, tiny_space) -> None:
    from hwnas.core.plugins import catalogue

    if name not in {plugin.name for plugin in catalogue("exporters") if plugin.available}:
        pytest.skip(f"{name} cannot be written here")
    require_exportable(tiny_space, (name,), load_target("cpu"))
