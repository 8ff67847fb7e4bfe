"""The page in a real browser: silent, self-contained, and legible on a desk and on a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import hwnas
from published import arguments, write
from report_run import MadeRun

from hwnas.report.page import write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
wait = pytest.importorskip("selenium.webdriver.support.wait")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromium-driver are not installed"),
]
SWITCHES = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)
WIDTHS = (1280, 400)
DRAWN = "return [...document.querySelectorAll('.chart')].every(c => c.querySelector('.trace path'))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("chromium")
    for switch in (*SWITCHES, f"user-data-dir={profile}"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, settings in {
            "finished": {},
            "searched": {"finished": False},
            "ask-tell": {"strategy": {"name": "spos"}},
            "hostile": {
                "name": "<img src=x onerror=alert(1)>",
                "custom": "x" * 400 + "</script><script>alert(2)</script>",
            },
        }.items():
            folder = tmp_path_factory.mktemp(name)
            patch.chdir(folder)
            found[name] = write_report(MadeRun(folder, **settings).path)
        found["comparison"] = _comparison(tmp_path_factory.mktemp("comparison"), patch)
    return found


def _comparison(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Of published tables: it has every kind of chart."""
    patch.chdir(folder)
    outcome = hwnas(*arguments(write(folder)), "--seeds", 2, "--out", "c")
    assert outcome.code == 0, outcome.stderr
    return folder / "c" / "report.html"


def see(browser, page: Path, width: int) -> None:
    """Open the page in a window of this width, and wait until its charts are drawn."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for log in ("browser", "performance"):
        browser.get_log(log)  # forget the page before
    browser.get(page.as_uri())
    wait.WebDriverWait(browser, 20).until(lambda b: b.execute_script(DRAWN))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["finished", "searched", "ask-tell", "hostile", "comparison"])
def test_the_page_is_silent_self_contained_and_fits(browser, pages: dict[str, Path], name: str, width: int):
    see(browser, pages[name], width)
    assert browser.get_log("browser") == []
    requests = [
        entry["message"] for entry in browser.get_log("performance") if 'requestWillBeSent"' in entry["message"]
    ]
    assert [r for r in requests if '"url":"file:' not in r and '"url":"data:' not in r] == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.images.length") == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_charts_and_strips_are_drawn(browser, pages: dict[str, Path], width: int):
    see(browser, pages["finished"], width)
    for chart in ("pareto", "fidelity", "convergence"):
        box = browser.execute_script(
            f"return document.querySelector('#{chart} .nsewdrag').getBoundingClientRect().toJSON()"
        )
        assert box["width"] > 0.6 * min(width, 620) and box["height"] > 100
    marks = browser.execute_script("return document.querySelectorAll('#fidelity .point').length")
    assert marks == 28 + 12 + 2
    strips = browser.execute_script(
        "return [...document.querySelectorAll('.strip')].map(strip => Math.max("
        "...[...strip.querySelectorAll('.segment')].map(s => s.getBoundingClientRect().right)))"
    )
    assert 0 < strips[0] < strips[1] <= width


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["finished", "comparison"])
def test_text_is_large_enough_to_read(browser, pages: dict[str, Path], name: str, width: int):
    see(browser, pages[name], width)
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('main p, main td, main th, main dd, main dt, main text')]"
        ".filter(e => e.textContent.trim() && e.getClientRects().length)"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12


def test_wide_tables_scroll_in_their_own_box(browser, pages: dict[str, Path]):
    see(browser, pages["finished"], 400)
    inner, outer = browser.execute_script(
        "const box = document.querySelector('.scroll'); return [box.scrollWidth, box.clientWidth]"
    )
    assert inner > outer
