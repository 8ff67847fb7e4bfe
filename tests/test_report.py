"""The report reads a run and shows what is there: no more, no less, and nothing that a browser would run."""

import json
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import plotly.graph_objects as go
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from report_run import IDENTITY, WINNER, MadeRun, config, space, table

from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal
from hwnas.latency.model import LatencyModel
from hwnas.report import charts, points
from hwnas.report.blocks import blocks
from hwnas.report.data import gather
from hwnas.report.explain import explain_run
from hwnas.report.page import write_report
from hwnas.report.strip import draw
from hwnas.run.config import resolve

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cache
def model() -> LatencyModel:
    return LatencyModel(space(), table(space()))


class Page(HTMLParser):
    """A page's tags, their attributes and its visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] not in ("script", "style"):
            self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def drawn(path: Path) -> dict[str, go.Figure | None]:
    """The page's charts as plotly itself accepts them: an unknown property is an error."""
    line = next(line for line in path.read_text().splitlines() if line.startswith("const charts = "))
    found = json.loads(line.removeprefix("const charts = ").removesuffix(";"))
    return {name: go.Figure(chart) if chart else None for name, chart in found.items()}


def test_a_finished_run_shows_what_was_measured(tmp_path: Path):
    run = MadeRun(tmp_path)
    page = Page(write_report(run.path))
    measured = run.result.measured_ms
    assert measured and run.result.reference and run.result.reference.measured_ms
    assert "98.12 %" in page.text
    assert f"{measured.median:.4f}" in page.text and f"{measured.p90:.4f}" in page.text
    assert f"{run.result.reference.measured_ms.median / measured.median:.2f}" in page.text
    assert "within its budget by measurement" in page.text
    assert "360 test images" in page.text
    assert "1 unstable" in page.text
    assert "a machine <made> by hand" in page.text
    assert {"pareto", "fidelity", "convergence"} == {
        name for name, figure in drawn(tmp_path / "run/report.html").items() if figure
    }


@pytest.mark.parametrize(("collapsing", "said"), [(6, "collapsed: from epoch 3 "), (1, "did not collapse")])
def test_beside_the_convergence_it_says_whether_the_search_collapsed(tmp_path: Path, collapsing: int, said: str):
    run = MadeRun(tmp_path)
    lines = [json.loads(line) for line in (run.path / "journal.jsonl").read_text().splitlines()]
    for epoch in (line for line in lines if line["kind"] == "epoch"):
        epoch |= {"parameter_free": 0.9, "collapsing": epoch["epoch"] >= 8 - collapsing}
    (run.path / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert said in Page(write_report(run.path)).text
    titles = [a.text for a in drawn(run.path / "report.html")["convergence"].layout.annotations]  # type: ignore[union-attr]
    assert "probability of options without parameters" in titles and "collapsing" not in titles


def test_the_page_fetches_nothing(tmp_path: Path):
    page = Page(write_report(MadeRun(tmp_path).path))
    links = [a.get(key) for _, a in page.tags for key in ("src", "href") if a.get(key)]
    assert links == ["data:,"]
    policy = next(a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'")


def test_a_run_that_only_searched_has_a_page(tmp_path: Path):
    run = MadeRun(tmp_path, finished=False)
    page = Page(write_report(run.path))
    assert "not measured yet" in page.text
    assert "by measurement" not in page.text
    assert "None" not in page.text
    found = points.fidelity(gather(run.path))
    assert found.own == {} and len(found.held_out) == 12


def test_before_the_search_there_is_no_page(tmp_path: Path):
    run = MadeRun(tmp_path)
    (run.path / "result.json").unlink()
    with pytest.raises(BadInput, match="no result yet"):
        write_report(run.path)
    with pytest.raises(BadInput, match="not a run directory"):
        write_report(tmp_path)


def test_what_users_named_is_text_and_never_markup(tmp_path: Path):
    target = config().target.model_dump() | {"description": HOSTILE}
    run = MadeRun(tmp_path, name="<script>alert(0)&", target=target, custom=HOSTILE)
    scaled = run.result.reference_scaled
    assert scaled
    run.result = run.result.model_copy(
        update={
            "reference_scaled": scaled.model_copy(update={"choices": {"width": HOSTILE}}),
            "versions": {"x": HOSTILE},
        }
    )
    run.save()
    page = Page(write_report(run.path))
    assert len(page.named("script")) == 2
    assert page.named("img") == [] and not any("onerror" in a or "onclick" in a for _, a in page.tags)
    assert page.text.count(" ".join(HOSTILE.split())) >= 4


def test_names_inside_the_charts_cannot_leave_their_script(tmp_path: Path):
    run = MadeRun(tmp_path)
    lines = (run.path / "journal.jsonl").read_text().replace('"multiplier"', json.dumps(HOSTILE))
    (run.path / "journal.jsonl").write_text(lines)
    page = Page(write_report(run.path))
    assert len(page.named("script")) == 2 and page.named("img") == []
    titles = [a.text for a in drawn(run.path / "report.html")["convergence"].layout.annotations]  # type: ignore[union-attr]
    assert any("&lt;script&gt;" in title for title in titles) and not any("<img" in title for title in titles)


def test_another_machines_table_is_said_not_used(tmp_path: Path):
    run = MadeRun(tmp_path)
    table(run.space, IDENTITY | {"device": "another"}).save(tmp_path / "latency_tables" / "cpu.json")
    page = Page(write_report(run.path))
    assert "now holds another machine's times" in page.text and "device: a machine <made> by hand then" in page.text
    assert drawn(run.path / "report.html")["fidelity"] is None
    with pytest.raises(BadInput, match="another machine"):
        explain_run(run.path)


def test_a_table_measured_again_is_told(tmp_path: Path):
    run = MadeRun(tmp_path)
    assert explain_run(run.path).note == ""
    calibration = {
        key: c.model_copy(update={"fitted": [n.model_copy(update={"median_ms": 1.2 * n.median_ms}) for n in c.fitted]})
        for key, c in run.table.calibration.items()
    }
    run.table.model_copy(update={"calibration": calibration}).save(tmp_path / "latency_tables" / "cpu.json")
    assert "measured again" in explain_run(run.path).note
    assert "measured again" in Page(write_report(run.path)).text


def test_without_a_table_the_rest_is_shown(tmp_path: Path):
    run = MadeRun(tmp_path)
    (tmp_path / "latency_tables" / "cpu.json").unlink()
    page = Page(write_report(run.path))
    assert "cannot read the latency table" in page.text and "98.12 %" in page.text
    assert drawn(run.path / "report.html")["pareto"] is not None


def test_reading_needs_no_lock_and_changes_nothing(tmp_path: Path):
    run = MadeRun(tmp_path)
    journal = run.path / "journal.jsonl"
    with journal.open("a") as file:
        file.write('{"kind": "trial", "arch": [0,')
    before = journal.read_bytes()
    with FileLock(run.path / ".lock"):
        write_report(run.path)
        explain_run(run.path)
    assert journal.read_bytes() == before
    assert len(points.evaluations(gather(run.path)).all) == len(run.trials)
    again = Journal(journal)
    again.append("trial", arch=[])
    assert Journal(journal).records == again.records


def test_the_command_repeats_the_run(tmp_path: Path):
    run = MadeRun(tmp_path, name="a run", seed=7, budget="55%")
    page = Page(write_report(run.path))
    assert f"hwnas run --config '{run.path}/config.yaml' --out '{run.path}-again'" in page.text
    assert resolve({}, run.path / "config.yaml").digest() == run.config.digest()


def test_the_front_is_of_all_that_was_evaluated(tmp_path: Path):
    found = points.evaluations(gather(MadeRun(tmp_path).path))
    assert len(found.all) == 4 and found.winner in found.all
    for point in found.front:
        assert not any(o.predicted_ms <= point.predicted_ms and o.accuracy > point.accuracy for o in found.all)
    assert found.winner is not None and found.winner.network == "mbconv3_3, zero, mbconv5_3, mbconv7_3, zero"
    assert found.limit_ms is not None and found.budget_ms is not None and found.limit_ms < found.budget_ms


def test_a_budget_on_p90_is_compared_with_p90(tmp_path: Path):
    run = MadeRun(tmp_path, budget="60%@p90")
    found = points.fidelity(gather(run.path))
    assert run.result.measured_ms
    assert found.own["winner"].measured_ms == run.result.measured_ms.p90
    assert f"{run.result.measured_ms.p90:.4f} ms" in Page(write_report(run.path)).text


def test_an_ask_tell_search_shows_its_best_so_far(tmp_path: Path):
    run = MadeRun(tmp_path, strategy={"name": "random"})
    page = write_report(run.path)
    assert "How the search progressed" in Page(page).text
    best = drawn(page)["convergence"].data[1]  # type: ignore[union-attr]
    assert list(best.y) == pytest.approx([98, 98, 98, 99])


def test_the_strip_is_to_scale(tmp_path: Path):
    run = MadeRun(tmp_path)
    drawing = draw(gather(run.path))
    assert [strip.role for strip in drawing.strips] == ["winner", "reference"]
    winner, reference = (sum(s.width for s in strip.segments) for strip in drawing.strips)
    ratio = run.model.predict(WINNER) / run.model.predict(run.space.reference())
    assert winner / reference == pytest.approx(ratio, rel=1e-6)
    assert reference <= 100
    skipped = [s for s in drawing.strips[0].segments if s.block.skipped]
    assert [s.block.name for s in skipped] == ["stage1_block2", "stage2_block2"]
    assert all(s.width == 0 for s in skipped)
    assert not any(s.block.skipped for s in drawing.strips[1].segments)
    assert drawing.ticks[0] == (0, "0") and 3 <= len(drawing.ticks) <= 6


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0))
def test_the_blocks_sum_to_the_prediction(seed: int):
    arch = model().space.random(Random(seed))
    found = blocks(model(), arch)
    assert sum(block.ms for block in found) == pytest.approx(model().predict(arch), rel=1e-9)
    assert [b.option for b in found if b.chosen] == list(model().space.describe(arch).values())
    assert all(b.skipped == (b.option == "zero") for b in found)


def test_explain_lists_every_single_change_and_invents_no_cost(tmp_path: Path):
    run = MadeRun(tmp_path, strategy={"name": "spos"})
    explanation = explain_run(run.path)
    assert len(explanation.changes) == sum(len(c.options) - 1 for c in run.space.choices)
    savings = [change.saved_ms for change in explanation.changes]
    assert savings == sorted(savings, reverse=True)
    names = [c.name for c in run.space.choices]
    for change in explanation.changes:
        i = names.index(change.choice)
        changed = (*WINNER[:i], run.space.choices[i].options.index(change.new), *WINNER[i + 1 :])
        assert change.predicted_ms == pytest.approx(run.model.predict(changed))
        assert change.saved_ms == pytest.approx(run.model.predict(WINNER) - change.predicted_ms)
        assert change.preference is None
        judged = {trial.arch: trial.accuracy for trial in run.trials}
        expected = judged[changed] - judged[WINNER] if changed in judged else None
        assert change.accuracy_change == expected
    assert sum(change.accuracy_change is not None for change in explanation.changes) == 2
    facts = json.loads(json.dumps(explanation.facts()))
    assert sum(b["ms"] for b in facts["blocks"]) == pytest.approx(facts["predicted_ms"])
    assert sum(b["share"] for b in facts["blocks"]) == pytest.approx(1)
    assert "cost unknown" in explanation.text() and "points on the search split" in explanation.text()


def test_explain_tells_what_a_gradient_search_learned(tmp_path: Path):
    run = MadeRun(tmp_path)
    scores = [[-1.0 - o for o in range(len(c.options))] for c in run.space.choices]
    run.journal.append("scores", log_probabilities=scores)
    change = next(c for c in explain_run(run.path).changes if (c.choice, c.new) == ("stage1_block1", "mbconv5_3"))
    assert change.preference == pytest.approx(-2)
    assert "log-probability -2.00" in change.known


def test_every_chart_stands_with_a_single_point():
    one = points.Evaluated(0.1, 0.9, "a")
    found = points.Evaluations([one], [one], [one], one, budget_ms=None, limit_ms=None)
    for chart in (charts.pareto_chart(found), charts.progress_chart(found)):
        go.Figure(chart)
    go.Figure(charts.convergence_chart([points.Curve("expected", [0.1], None)]))
