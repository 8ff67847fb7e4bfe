"""A compiler's estimate is called one wherever it is shown, and never a measurement."""

from pathlib import Path

import numpy as np
import pytest
from conftest import hwnas
from report_run import MadeRun

from hwnas.deploy.verify import verify_bundle
from hwnas.formats.int8 import quantize
from hwnas.operators import build, onnx_graph
from hwnas.operators.opspec import OpSpec
from hwnas.report.page import write_report
from hwnas.report.summary import summary
from hwnas.run.result import load_result
from hwnas.run.ship import _latency

BY = "ethos-u-vela 5.2.0"


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    made = MadeRun(tmp_path)
    made.result = made.result.model_copy(update={"estimated_by": BY})
    made.save()
    return made


def test_the_summary_says_estimated(run: MadeRun) -> None:
    assert f"within budget, estimated ({BY})" in summary(run.result)
    assert "measured" not in summary(run.result)


def test_the_page_says_estimated(run: MadeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path.parent)
    page = write_report(run.path).read_text()
    shown = page[: page.index("<pre>")]
    assert f"estimated ({BY})" in shown and "estimated ms" in shown
    assert "measured" not in shown.partition("</style>")[2]


def test_the_model_card_says_estimated(run: MadeRun) -> None:
    said = _latency(run.result, "a board")
    assert f"estimated ({BY})" in said and "measured" not in said
    assert "measured by hwnas on a board" in _latency(run.result.model_copy(update={"estimated_by": ""}), "a board")


def test_the_measure_verb_says_estimated(tmp_path: Path) -> None:
    pytest.importorskip("ethosu", reason="needs ethos-u-vela")
    x = np.ones((1, 3, 8, 8), np.float32)
    stem = build(OpSpec.of("conv", (3, 8, 8), out=8, kernel=3, stride=2, act="relu6")).eval()
    (tmp_path / "stem.onnx").write_bytes(quantize(onnx_graph.write(stem, (3, 8, 8)), x, "u8s8"))
    outcome = hwnas("measure", tmp_path / "stem.onnx", "--target", "ethos-u55-128")
    assert outcome.code == 0, outcome.stderr
    assert f"estimated ({BY.partition(' ')[0]}" in outcome.stdout
    assert "median" not in outcome.stdout and "runs" not in outcome.stdout


@pytest.mark.slow
def test_a_whole_run_on_an_estimate(bare: Path) -> None:
    """A bundle whose latency is the same estimate at every stage, and verifies."""
    pytest.importorskip("ethosu", reason="needs ethos-u-vela")
    target = ("--target", "ethos-u55-128")
    outcome = hwnas("run", "--config", "tiny.yaml", *target, "--out", "run")
    assert outcome.code == 0, outcome.stderr
    result = load_result(Path("run"))
    assert result.estimated_by.startswith("ethos-u-vela")
    assert result.measured_ms and result.measured_ms.median == pytest.approx(result.predicted_ms, rel=0.02)
    assert Path("run/bundle/model.vela.tflite").exists()
    assert "estimated (ethos-u-vela" in Path("run/bundle/README.md").read_text()
    found = verify_bundle(Path("run/bundle"))
    assert found.ok, found
    assert "estimated (ethos-u-vela" in found.checks[-1].detail
