"""The page in a real browser: it complains of nothing, asks for nothing, and does what its controls say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.report.page import write_page
from tests.ngpd_fl.report.page.conftest import Page
from tests.ngpd_fl.report.page.test_document import HOSTILE


@pytest.fixture(scope="module")
def written(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page([runs], tmp_path_factory.mktemp("page") / "report.html", title=HOSTILE)


@pytest.fixture(scope="module")
def tab(browser: Any, written: Path) -> Iterator[Any]:
    """The page, opened once: what a test leaves behind, the next one has to bear."""
    opened = browser.new_page(viewport={"width": 1280, "height": 600})
    opened.complaints, opened.requests, opened.dialogs = [], [], []
    opened.on("console", lambda message: opened.complaints.append(message.text))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
    opened.goto(written.as_uri())
    yield opened
    opened.close()


def drawn(tab: Any, selector: str) -> Any:
    """Return the plot that a selector finds, once it is drawn."""
    tab.locator(selector).scroll_into_view_if_needed()
    tab.wait_for_selector(f"{selector} .main-svg")
    return tab.locator(selector)


def lines(tab: Any) -> list[dict[str, Any]]:
    """Return name, x and y of the curves, without the bands' edges."""
    found: list[dict[str, Any]] = tab.evaluate(
        "document.querySelector('.curves').data.filter(line => line.name)"
        ".map(line => ({name: line.name, x: line.x, y: line.y, symbol: line.marker.symbol}))"
    )
    return found


def axis_title(tab: Any) -> str:
    return str(tab.evaluate("document.querySelector('.curves').layout.xaxis.title.text"))


def y_title(tab: Any) -> str:
    return str(tab.evaluate("document.querySelector('.curves').layout.yaxis.title.text"))


def test_figures_are_drawn_when_they_come_into_view(tab: Any) -> None:
    drawn(tab, ".curves")
    assert tab.locator("#timeline .main-svg").count() == 0
    drawn(tab, "#timeline")


def test_it_opens_without_a_complaint_and_asks_for_nothing(tab: Any, written: Path) -> None:
    for selector in (".curves", "#graph", "#partition", "#timeline"):
        drawn(tab, selector)
    assert tab.complaints == [] and tab.dialogs == []
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [written.as_uri()]
    assert tab.title() == HOSTILE and tab.locator("h1").inner_text() == HOSTILE


def test_the_switch_changes_what_curves_are_drawn_against(tab: Any) -> None:
    drawn(tab, ".curves")
    assert axis_title(tab) == "rounds"
    by_rounds = lines(tab)
    assert {line["name"] for line in by_rounds} == {"ngpd", "dsgd"}
    assert all(line["x"] == [0, 1, 2, 3] for line in by_rounds)
    assert len({line["symbol"] for line in by_rounds}) == 2
    tab.get_by_role("radio", name="virtual time", exact=True).focus()
    tab.keyboard.press("Space")
    assert axis_title(tab) == "virtual time (s)"
    by_time = lines(tab)
    assert [line["y"] for line in by_time] == [line["y"] for line in by_rounds]
    assert all(line["x"] != [0, 1, 2, 3] for line in by_time)
    tab.get_by_role("radio", name="bytes sent", exact=True).check()
    assert axis_title(tab) == "sent by all nodes" and max(lines(tab)[0]["x"]) > 1000
    assert tab.locator(".curves .xtitle").text_content() == "sent by all nodes"


def test_an_axis_without_data_has_no_button_but_a_reason(tab: Any) -> None:
    assert tab.get_by_role("radio", name="energy", exact=True).count() == 0
    assert tab.get_by_text("energy: no run here knows").is_visible()
    assert tab.locator(":disabled").count() == 0


def test_the_other_quantities(tab: Any) -> None:
    drawn(tab, ".curves")
    mean = lines(tab)
    tab.get_by_role("radio", name="worst node", exact=True).check()
    worst = lines(tab)
    pairs = [pair for one, other in zip(worst, mean, strict=True) for pair in zip(one["y"], other["y"], strict=True)]
    assert all(low <= high for low, high in pairs) and any(low < high for low, high in pairs)
    tab.get_by_role("radio", name="all three", exact=True).check()
    assert len(lines(tab)) == 6
    tab.get_by_role("radio", name="consensus distance", exact=True).check()
    assert y_title(tab) == "RMS distance to the mean of the nodes"
    assert all(line["y"][0] == 0 and line["y"][-1] > 0 for line in lines(tab))
    tab.get_by_role("radio", name="training loss", exact=True).check()
    assert y_title(tab) == "training loss" and all(line["y"][0] is None for line in lines(tab))


@pytest.mark.parametrize("target", [0.15, 0.3, 0.45, 0.99])
def test_a_target_typed_in_costs_what_the_tables_say(runs: Path, tmp_path: Path, tab: Any, target: float) -> None:
    expected = Page(write_page([runs], tmp_path / "report.html", target=target)).tables["setting-1"][2:]
    tab.locator(".target-value").fill(f"{100 * target:g}")
    rows = tab.locator("#setting-1 .results tbody tr").all()
    assert [[" ".join(cell.inner_text().split()) for cell in row.locator("[data-cost]").all()] for row in rows] == [
        row[5:-2] for row in expected
    ]


def colors(tab: Any) -> list[float]:
    found: list[float] = tab.evaluate("document.querySelector('#graph').data[1].marker.color")
    return found


def test_the_slider_colors_the_nodes_by_the_round(tab: Any) -> None:
    drawn(tab, "#graph")
    last, said = colors(tab), tab.locator("#round-text").inner_text()
    assert said.startswith("round 3,")
    tab.locator("#round").focus()
    tab.keyboard.press("Home")
    first = colors(tab)
    assert len(set(first)) == 1 and first != last
    assert tab.locator("#round-text").inner_text().startswith("round 0,")
    tab.locator("#play").click()
    assert tab.locator("#play").get_attribute("aria-pressed") == "true"
    tab.get_by_role("button", name="Pause").wait_for(state="detached")
    assert colors(tab) == last and tab.locator("#round-text").inner_text() == said


def test_another_run_may_be_chosen(tab: Any) -> None:
    drawn(tab, "#graph")
    before = colors(tab)
    options = tab.locator("#run option").all_inner_texts()
    assert sorted(options) == ["dsgd, seed 1", "dsgd, seed 2", "ngpd, seed 1", "ngpd, seed 2"]
    tab.locator("#run").select_option(options[-1])
    assert colors(tab) != before


def test_without_scripts_tables_and_pictures_are_there(written: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(written.as_uri())
    assert tab.locator("#setting-1 table.results").is_visible()
    assert "± " in tab.locator("#setting-1 table.results").inner_text()
    pictures = tab.locator("#setting-1 figure svg")
    assert pictures.count() == 5 and all(picture.is_visible() for picture in pictures.all())
    assert tab.locator("#nodes table.counts").is_visible()
    assert not tab.locator(".curves").is_visible() and not tab.locator("input").first.is_visible()
    tab.locator("#reproduce summary").first.click()
    assert "ngpd-fl run --set" in tab.locator("#reproduce pre").first.inner_text()
    context.close()


def test_on_paper_pictures_stand_for_plots(tab: Any) -> None:
    drawn(tab, ".curves")
    tab.emulate_media(media="print")
    assert tab.locator("#setting-1 figure svg").first.is_visible()
    for selector in (".curves", "nav", "fieldset"):
        assert not tab.locator(selector).first.is_visible()
    tab.emulate_media(media="screen")


def test_all_plots_of_a_run_are_drawn_before_printing(browser: Any, written: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 600}, color_scheme="dark")
    tab.goto(written.as_uri())
    assert tab.locator("#graph .main-svg").count() == 0
    assert tab.pdf(format="A4").startswith(b"%PDF")
    for selector in ("#graph", "#partition", "#timeline"):
        assert tab.locator(f"{selector} .main-svg").count() > 0
    assert tab.evaluate("document.documentElement.className") == "scripted"  # the screen has its colors again
    tab.close()


def test_dark_mode_and_back(browser: Any, written: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 600}, color_scheme="dark")
    tab.goto(written.as_uri())
    drawn(tab, ".curves")
    ground = "getComputedStyle(document.body).backgroundColor"
    font = "document.querySelector('.curves').layout.font.color"
    assert (tab.evaluate(ground), tab.evaluate(font)) == ("rgb(20, 24, 29)", "#e4e9ee")
    tab.emulate_media(color_scheme="light")
    tab.wait_for_timeout(100)
    assert tab.evaluate(font) == "#1d2329"
    assert tab.evaluate(ground) == "rgb(255, 255, 255)"
    tab.close()


def test_colors_of_nodes_fit_their_values(tab: Any) -> None:
    drawn(tab, "#graph")
    low, high = tab.evaluate("(({cmin, cmax}) => [cmin, cmax])(document.querySelector('#graph').data[1].marker)")
    found = colors(tab)
    assert low <= min(found) and max(found) <= high
    assert high - low == pytest.approx(max(5, max(found) - min(found)))


def test_it_fits_a_narrow_screen(tab: Any) -> None:
    tab.set_viewport_size({"width": 400, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("width", [1200, 1280])
def test_the_results_fit_a_small_laptop(tab: Any, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 600})
    assert tab.evaluate(
        "[...document.querySelectorAll('.setting > .scroll')].every(e => e.scrollWidth <= e.clientWidth)"
    )


def test_every_control_has_a_name(tab: Any) -> None:
    controls = "[...document.querySelectorAll('main :is(input, select, button)')].filter(e => !e.closest('.plot'))"
    assert tab.evaluate(f"{controls}.length") > 8
    assert tab.evaluate(f"{controls}.filter(e => !(e.labels?.length || e.textContent)).length") == 0
    assert tab.evaluate("document.documentElement.lang") == "en"
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].filter(e => !e.closest('svg')).map(e => e.id)")
    assert len(ids) == len(set(ids))
