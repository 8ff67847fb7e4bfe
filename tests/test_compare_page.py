"""The page of a comparison shows what was found, fetches nothing, and holds no markup but its own."""

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest
from conftest import hwnas
from published import arguments, write
from test_report import HOSTILE, Page

from hwnas.compare.cells import matrix
from hwnas.compare.outcome import Outcome
from hwnas.compare.run import Compared
from hwnas.compare.table import text
from hwnas.report.comparison import write_comparison


def made(folder: Path, failed: dict[str, str] | None = None) -> Compared:
    """Three seeds of two strategies and the reference, as if they had been run to the end."""
    cells = matrix({}, None, (), ["random", "proxyless"], ["60%"], range(3), folder / "compared")

    def outcome(strategy: str, seed: int, accuracy: float, ms: float) -> Outcome:
        cost = {"queries": 6, "epochs": 30, "search_seconds": 12.0 + seed, "peak_mib": 80.0}
        facts = {"accuracy": accuracy, "over_budget": int(ms > 1), **(cost if strategy != "reference" else {})}
        return Outcome(strategy, "60%", seed, (0, 1), budget_ms=1.0, latency_ms=ms, **facts)

    found = [outcome("random", seed, 0.90 + 0.01 * seed, 0.9) for seed in range(3)]
    found += [outcome("proxyless", seed, 0.92 + 0.02 * seed, 0.95) for seed in range(3)]
    found += [outcome("reference", seed, 0.93, 1.6) for seed in range(3)]
    return Compared(cells, found, failed or {}, {})


def drawn(page: Path) -> dict[str, go.Figure]:
    line = next(line for line in page.read_text().splitlines() if line.startswith("const charts = "))
    found = json.loads(line.removeprefix("const charts = ").removesuffix(";"))
    return {name: go.Figure(chart) for name, chart in found.items()}


def test_it_shows_the_table_and_every_pair(tmp_path: Path) -> None:
    page = Page(write_comparison(made(tmp_path)))
    assert "Budget 60% = 1 ms" in page.text
    assert "91.00 (89.31 to 92.69)" in page.text  # 90, 91, 92: ± 2.920 · 1 / √3
    assert "+3.00 (+1.31 to +4.69)" in page.text  # 2, 3, 4 points better, seed by seed
    assert "-2.00 (-3.69 to -0.31)" in page.text  # random against the reference, only among the pairs
    assert "reference 3 93.00 (93.00 to 93.00)" in page.text
    assert "None" not in page.text and "nan" not in page.text


def test_it_fetches_nothing_and_its_charts_are_plotly_s(tmp_path: Path) -> None:
    path = write_comparison(made(tmp_path))
    page = Page(path)
    assert [a[key] for _, a in page.tags for key in ("src", "href") if a.get(key)] == ["data:,"]
    policy = next(a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'")
    charts = drawn(path)
    assert set(charts) == {"accuracy0"} and len(charts["accuracy0"].data[0].x) == 9
    assert list(charts["accuracy0"].data[1].x) == pytest.approx([91, 94, 93])


def test_what_others_wrote_is_text(tmp_path: Path) -> None:
    path = write_comparison(made(tmp_path, failed={HOSTILE: HOSTILE}))
    page = Page(path)
    assert len(page.named("script")) == 2 and page.named("img") == []
    assert page.text.count(" ".join(HOSTILE.split())) == 2


def test_a_cell_without_a_result_is_told(tmp_path: Path) -> None:
    compared = made(tmp_path, failed={"random 60% seed 3": "no candidate measures within 1 ms"})
    assert "no result: random 60% seed 3: no candidate measures within 1 ms" in text(compared)
    assert "no candidate measures within 1 ms" in Page(write_comparison(compared)).text


def test_the_table_leaves_out_what_says_nothing(tmp_path: Path) -> None:
    head = text(made(tmp_path)).splitlines()[1]
    assert "epochs" in head and "peak MiB" in head and "regret" not in head and "simulated" not in head


def test_of_published_truth_it_shows_regret_and_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = hwnas(*arguments(write(tmp_path)), "--seeds", 2, "--budget", "60%,40%", "--out", "c")
    assert outcome.code == 0, outcome.stderr
    page = Page(Path("c/report.html"))
    assert "regret" in page.text and "published accuracy, test" in page.text and "simulated s" in page.text
    charts = drawn(Path("c/report.html"))
    assert set(charts) == {"accuracy0", "progress0", "accuracy1", "progress1"}
    curves = charts["progress0"].data
    assert [curve.name for curve in curves] == ["random", "regularized-evolution", "nsga2"]
    for curve, mean in zip(curves, charts["accuracy0"].data[1].x, strict=True):
        assert len(curve.y) == 30 and curve.y[-1] == pytest.approx(mean)
