"""The page in a real Chromium, opened from disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from digits_page import DOUBTFUL, SURE, write_page_of_digits
from miniature_run import UTTERANCES
from page_run import HOSTILE_WORD, write_hostile_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not here: kd-asr[browser]")
NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser is installed ({', '.join(NAMES)})"),
]
WAIT = 180_000  # milliseconds; other processes may have the machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hostile_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("digits")
    write_page_of_digits(found)
    return found


@contextmanager
def _opened(browser: Any, folder: Path) -> Iterator[Any]:
    """The opened page; at the end nothing has gone wrong in it, and nothing was asked for from elsewhere."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme="light")
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda one: None if one.url.startswith(("file:", "data:", "blob:")) else wrong.append(one.url))
    opened.goto((folder / "index.html").as_uri(), timeout=WAIT)
    yield opened
    context.close()
    assert wrong == []


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    with _opened(browser, folder) as opened:
        yield opened


@pytest.fixture
def digits(browser: Any, digits_folder: Path) -> Iterator[Any]:
    with _opened(browser, digits_folder) as opened:
        yield opened


def _names(page: Any) -> list[str]:
    return page.locator("#list tbody th").all_inner_texts()  # type: ignore[no-any-return]


def _open(page: Any, place: str = "▶") -> None:
    page.locator("#list tbody button", has_text=place).first.click()
    page.wait_for_selector("#posteriorgram .main-svg")


def test_lists_are_sorted_and_searched(page: Any) -> None:
    everything = _names(page)
    assert len(everything) == 50
    errors = [float(text) for text in page.locator("#list tbody td:last-child").all_inner_texts()]
    assert errors == sorted(errors, reverse=True)
    page.locator("#list thead button").first.click()
    assert _names(page) == sorted(everything, key=lambda name: name.removesuffix(" ▶"))
    assert page.locator("#list thead th").first.get_attribute("aria-sort") == "ascending"
    page.fill("#search", "0007")
    assert len(_names(page)) == 1
    assert page.locator("#found").inner_text() == "1 of 50"
    page.fill("#search", HOSTILE_WORD)
    assert 1 < len(_names(page)) < 50


def test_words_side_by_side_and_systems_switched_off(page: Any) -> None:
    page.fill("#search", HOSTILE_WORD)
    page.locator("#list tbody button").first.click()
    assert HOSTILE_WORD in page.locator(".words tr").first.inner_text()
    assert page.locator(".words tr:visible").count() == 5  # the reference and four systems
    assert page.locator("#chosen h3").evaluate("one => one === document.activeElement")
    page.locator("#systems input").nth(2).uncheck()
    assert page.locator(".words tr:visible").count() == 3
    page.wait_for_selector("#plot-wer .main-svg")
    assert page.evaluate("document.getElementById('plot-wer').data.map(one => one.visible)") == [True, True, False]


def test_audio_plays_and_temperature_changes_the_posteriors(page: Any) -> None:
    _open(page)
    audio = page.locator("audio")
    page.wait_for_function("document.querySelector('audio').duration > 0.5")
    ended = "new Promise(done => { one.onended = () => done(one.currentTime); one.muted = true; one.play(); })"
    assert audio.evaluate(f"one => {ended}") == pytest.approx(0.6, abs=0.1)
    assert page.evaluate("document.getElementById('posteriorgram').layout.shapes[0].x0") > 0.3
    most = "Math.max(...document.getElementById('posteriorgram').data[4].customdata.flat())"
    sharp = page.evaluate(most)
    slider = page.get_by_role("slider", name="Temperature")
    slider.press("End")
    assert "T = 10" in page.locator(".slider").first.inner_text()
    page.wait_for_function(f"{most} < {sharp} - 0.1")
    values = page.locator("#moment-values")
    before = values.inner_text()
    page.get_by_role("slider", name="Moment").press("PageUp")
    assert values.inner_text() != before


def test_light_dark_and_narrow(page: Any) -> None:
    def background() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")  # type: ignore[no-any-return]

    light = background()
    page.locator("#theme").click()
    assert background() != light
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    page.set_viewport_size({"width": 360, "height": 700})
    _open(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def _draw_everything(page: Any) -> None:
    """Scroll until every plot is drawn."""
    for place in page.locator(".plot[id^='plot-']").all():
        place.scroll_into_view_if_needed()
        page.wait_for_function("id => document.querySelector(`#${id} .main-svg`)", arg=place.get_attribute("id"))


def _targets(page: Any, picture: int) -> list[float]:
    return page.evaluate(f"document.getElementById('targets-{picture}').data[0].y")  # type: ignore[no-any-return]


def test_a_sure_and_a_doubtful_digit_at_any_temperature(digits: Any) -> None:
    """Softened by hand: p_i^(1/T) / sum p_j^(1/T)."""
    digits.wait_for_selector(f"#targets-{DOUBTFUL} .main-svg")
    slider = digits.get_by_role("slider", name="Temperature")
    assert _targets(digits, SURE)[0] == pytest.approx(1, abs=1e-5)
    assert _targets(digits, DOUBTFUL)[:2] == pytest.approx([0.4 / 0.75, 0.35 / 0.75], rel=1e-3)
    slider.fill("3")  # the logarithm to base 2
    assert digits.locator("#temperature-said").inner_text() == "T = 8.00"
    digits.wait_for_function(f"document.getElementById('targets-{SURE}').data[0].y[0] < 0.9")
    raised = [(1 - 1e-6) ** (1 / 8), *[1e-7 ** (1 / 8)] * 2, 0, *[1e-7 ** (1 / 8)] * 6]  # one class is impossible
    softened = _targets(digits, SURE)
    assert softened[0] == pytest.approx(raised[0] / sum(raised), rel=1e-3)
    assert softened[1] == pytest.approx(raised[1] / sum(raised), rel=1e-3)
    assert _targets(digits, DOUBTFUL)[0] < 0.4 / 0.75
    assert digits.evaluate(f"document.getElementById('targets-{SURE}').layout.yaxis.type") == "log"
    assert digits.locator("canvas").first.evaluate("one => one.width") == 8


def test_digits_plots_dark_and_narrow(digits: Any) -> None:
    _draw_everything(digits)
    assert digits.evaluate("document.getElementById('plot-filters-layers-hard').data.length") == 1
    digits.locator("#theme").click()
    assert digits.locator("#theme").get_attribute("aria-pressed") == "true"
    digits.set_viewport_size({"width": 360, "height": 700})
    # Plots are drawn anew a moment after the page has another width.
    digits.wait_for_function("document.documentElement.scrollWidth <= innerWidth", timeout=10_000)


def test_400_utterances_stay_smooth(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    """First paint in less than 2 s, the best of three since other processes may have the machine; search and order in
    less than half a second."""
    monkeypatch.setitem(UTTERANCES, "test", 400)
    folder = write_hostile_page(tmp_path, utterances=24)
    paints, searches = [], []
    for _ in range(3):
        with _opened(browser, folder) as opened:
            assert len(_names(opened)) == 400
            paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
            opened.wait_for_function(paint)
            paints.append(opened.evaluate(paint))
            searches.append(opened.evaluate(
                """() => {
                  const search = document.getElementById("search");
                  const before = performance.now();
                  search.value = "word1";
                  search.dispatchEvent(new Event("input"));
                  document.querySelector("#list thead button").click();
                  document.body.offsetHeight;
                  return performance.now() - before;
                }"""
            ))  # fmt: skip
    record_property("first contentful paint, ms", paints)
    record_property("search and order, ms", searches)
    assert min(paints) < 2000
    assert min(searches) < 500


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["page", "digits"])
def test_accessibility(request: pytest.FixtureRequest, kind: str, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here: kd-asr[browser]")
    page = request.getfixturevalue(kind)
    page.emulate_media(color_scheme=theme)
    if kind == "page":
        _open(page)
    else:
        _draw_everything(page)
    # Styles are not fetched once more, which pages from disk may not do.
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    serious = [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
