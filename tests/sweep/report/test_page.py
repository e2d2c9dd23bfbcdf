"""The page: what is in it, and what a real browser makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium import ENTER, SPACE, Browser, chromium, need_chromium
from sweep_trials import HOSTILE, ladder, trial

from ptv2_scale.sweep.report import write_report

COLUMN = (
    "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => r.cells[{}].innerText)"
)
BUTTON = "table th:nth-child({}) button"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    need_chromium()
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that has been moved away from its runs, with hostile names beside a ladder."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "run").mkdir()
    (folder / "run" / "recipe.yaml").write_text("note: </pre><script>document.title=1</script>\n")
    (folder / "run.log").write_text("the last words\n")
    hostile = [
        trial({"task": task, "backbone": "small", "method": name}, 0.5, metrics={name: 0.5})
        for task, name in zip((HOSTILE[0], *["rte"] * 4), HOSTILE, strict=True)
    ]
    failed = trial({"task": "rte", "backbone": "small", "method": "lora"}, None)
    write_report([*ladder(folder / "run"), failed, *hostile], folder / "report", HOSTILE[0])
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    (folder / "report").rename(moved)
    (folder / "run.log").unlink()
    return moved / "report.html"


class Outline(HTMLParser):
    """Ids, links and elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = self.loaded = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        self.scripts += tag == "script"
        self.loaded += "src" in found or tag in ("link", "iframe", "img")


def test_every_link_leads_to_a_part_of_the_page(report: Path) -> None:
    outline = Outline(report.read_text())
    assert len(set(outline.ids)) == len(outline.ids)
    assert {f"#{one}" for one in outline.ids} >= set(outline.links)
    assert {f"#trial-{number}" for number in range(12)} <= set(outline.links)
    assert (outline.scripts, outline.loaded) == (1, 0)
    assert "\x1b" not in report.read_text()


def test_a_table_is_sorted_by_click_and_key(report: Path, browser: Browser) -> None:
    browser.open(report)
    sizes = f"return {COLUMN.format(1)}.slice(0, 3)"
    full = f"return {COLUMN.format(4)}.slice(0, 4)"
    state = (
        "return [...document.querySelectorAll('table')[0].tHead.rows[0].cells].map(c => c.ariaSort)"
    )
    browser.click(BUTTON.format(2))
    assert browser.run(sizes) == ["base", "large", "small"]
    browser.press(BUTTON.format(5), ENTER)
    assert browser.run(full) == ["0.610 ± 0.014", "0.710 ± 0.014", "0.810 ± 0.014", "–"]
    browser.press(BUTTON.format(5), SPACE)
    assert browser.run(full) == ["0.810 ± 0.014", "0.710 ± 0.014", "0.610 ± 0.014", "–"]
    assert [one for one in browser.run(state) if one] == ["descending"]
    assert browser.run(state)[4] == "descending"


def test_a_point_says_its_value_and_opens_its_run(report: Path, browser: Browser) -> None:
    browser.open(report)
    browser.run("document.querySelector('figure a.dot:not(.seed)').focus()")
    assert "0.6100 ± 0.0141 (2 seeds" in browser.run(
        "return document.querySelector('figure output').textContent"
    )
    browser.open(report, "#trial-0")
    assert browser.run("return document.getElementById('trial-0').open") is True
    text = browser.run("return document.getElementById('trial-0').innerText")
    assert "note: </pre><script>document.title=1</script>" in text
    assert "the last words" in text


def test_names_stay_texts_and_nothing_leaves_the_page(report: Path, browser: Browser) -> None:
    browser.requests()
    browser.open(report)
    assert browser.run("return document.title") == f"{HOSTILE[0]}: report of a sweep"
    heading = browser.run("return document.querySelector('h1').textContent")
    assert heading == HOSTILE[0]
    assert browser.console() == []
    assert browser.requests() == [report.resolve().as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_screen(report: Path, browser: Browser, width: int, dark: bool) -> None:
    browser.resize(width, 800, dark=dark)
    browser.open(report)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    colour = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert colour == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
    picture = report.with_name(f"{width}-{'dark' if dark else 'light'}.png")
    picture.write_bytes(browser.screenshot())
    assert picture.read_bytes().startswith(b"\x89PNG")
