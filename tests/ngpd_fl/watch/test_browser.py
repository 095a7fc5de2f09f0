"""The live page in a real browser: it follows runs, outlives servers and runs, and complains of nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.records import RunFolder
from tests.ngpd_fl.report.page.test_document import HOSTILE
from tests.ngpd_fl.watch.conftest import Served, record, served, until
from tests.support.ports import free_port

CURVES = "document.querySelector('#quality').chart"


@contextmanager
def opened(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> Iterator[Any]:
    """Open the page in a tab that keeps its complaints and requests."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    tab.complaints, tab.requests = [], []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.goto(address)
    yield tab
    context.close()


def drawn(tab: Any) -> None:
    """Wait until all of the page is drawn."""
    for selector in ("#graph[data-nodes]", "#quality canvas", "#second-plot canvas", "#timeline canvas"):
        tab.wait_for_selector(selector)


def cells(tab: Any, row: int = 0) -> list[str]:
    return [str(text) for text in tab.locator(".runs tbody tr").nth(row).locator("td").all_inner_texts()]


@pytest.fixture(scope="module")
def page(recorded: Path) -> Iterator[Served]:
    with served(recorded, "--port", str(free_port())) as server:
        yield server


@pytest.fixture
def tab(browser: Any, page: Served) -> Iterator[Any]:
    with opened(browser, page.address) as made:
        yield made


def test_it_opens_without_a_complaint_and_asks_only_its_server(tab: Any, page: Served) -> None:
    drawn(tab)
    assert tab.complaints == []
    assert all(url.startswith((page.address, "data:")) for url in tab.requests)
    assert tab.title() == tab.locator("h1").inner_text() == "run, live"
    assert tab.locator("#connection").inner_text() == "live"


def test_the_table_says_what_the_records_say(tab: Any, recorded: Path) -> None:
    drawn(tab)
    last = RunFolder(recorded).metrics()[-1]
    said = cells(tab)
    assert said[0].startswith("finished, round 4 of 4")
    assert said[1:4] == [last.measure.text(value) for value in (last.mean, last.worst, last.averaged_model)]
    assert said[4] == f"{last.consensus_distance:.3g}"
    assert tab.evaluate(f"{CURVES}.data[1]") == pytest.approx(
        [100 * each.mean for each in RunFolder(recorded).metrics()], rel=1e-4
    )
    tab.locator("#node-table summary").click()
    rows = tab.locator("#node-table tbody tr")
    ranked = sorted(range(4), key=lambda node: last.nodes[node])
    expected = [f"{node} {last.measure.text(last.nodes[node])}" for node in ranked]
    until(lambda: [" ".join(row.split()) for row in rows.all_inner_texts()] == expected)


@pytest.mark.parametrize(
    ("cost", "of"),
    [
        ("sent", lambda each: each.bytes_sent),
        ("training time", lambda each: each.train_seconds),
        ("virtual time", lambda each: each.virtual_seconds),
    ],
)
def test_curves_against_another_cost(tab: Any, recorded: Path, cost: str, of: Callable[[Any], float]) -> None:
    drawn(tab)
    tab.get_by_role("radio", name=cost, exact=True).focus()
    tab.keyboard.press("Space")
    expected = [of(each) for each in RunFolder(recorded).metrics()]
    until(lambda: tab.evaluate(f"{CURVES}.data[0]") == pytest.approx(expected, rel=1e-4))
    tab.get_by_role("radio", name="all", exact=True).check()
    until(lambda: len(tab.evaluate(f"{CURVES}.data")) == 4)
    assert tab.get_by_role("radio", name="energy", exact=True).is_disabled()


def test_nodes_and_edges_are_reached_by_keyboard(tab: Any) -> None:
    drawn(tab)
    canvas = tab.locator("#graph")
    assert canvas.get_attribute("aria-label").startswith("Graph of 4 nodes, accuracy (%) from ")
    canvas.focus()
    for key, node in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowUp", 3)):
        tab.keyboard.press(key)
        said = tab.locator("#node-text").inner_text()
        assert said.startswith(f"Node {node}: accuracy ")
        assert said.endswith(" %; 2 neighbors (0, 2)") == (node in (1, 3))
    assert tab.locator("#edge-quantity").input_value() == "waited"
    tab.locator("#edge-quantity").select_option("messages")
    assert "messages sent" in tab.locator("#scales").inner_text()
    before = canvas.screenshot()
    tab.locator("#edge-quantity").select_option("")
    until(lambda: canvas.screenshot() != before)
    assert "Longest waits shown: node " in tab.locator("#waits").inner_text()


def test_every_control_has_a_name_and_a_visible_focus(tab: Any) -> None:
    drawn(tab)
    for role in ("radio", "checkbox", "combobox", "progressbar", "img", "region"):
        controls = [each for each in tab.get_by_role(role).all() if each.evaluate("each => each.tagName") != "svg"]
        assert controls
        for control in controls:
            snapshot = control.aria_snapshot()
            assert '"' in snapshot.split("\n")[0], snapshot
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    seen = set()
    for _ in range(30):
        tab.keyboard.press("Tab")
        seen.add(tab.evaluate("document.activeElement.id || document.activeElement.name"))
        around = (focused := "document.activeElement", f"({focused}.closest('label') ?? {focused})")
        outlines = [tab.evaluate(f"getComputedStyle({each}).outlineStyle") for each in around]
        assert tab.evaluate(f"{focused} === document.body") or "solid" in outlines
    assert {"quantity", "cost", "second", "run", "node-quantity", "edge-quantity", "graph"} <= seen


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_the_dark(browser: Any, page: Served, width: int, scheme: str) -> None:
    with opened(browser, page.address, width, scheme) as tab:
        drawn(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        ground, ink = (tab.evaluate(f"getComputedStyle(document.body).{of}") for of in ("backgroundColor", "color"))
        shades = [sum(map(int, color[4:-1].split(", "))) for color in (ground, ink)]
        assert (shades[0] < shades[1]) == (scheme == "dark") and abs(shades[0] - shades[1]) > 500
        text = tab.evaluate(f"{CURVES}.axes[0].stroke()")
        assert text == ("#e4e9ee" if scheme == "dark" else "#1d2329")
        assert tab.complaints == []


def test_it_follows_a_run_and_outlives_its_server(browser: Any, recorded: Path, tmp_path: Path) -> None:
    """Evaluation by evaluation; the server ends and begins again; the run resumes from an earlier round, and ends."""
    folder, port = tmp_path / "out", str(free_port())
    (tmp_path / "out").mkdir()
    lines = (recorded / "metrics.jsonl").read_text().splitlines(keepends=True)
    rounds = (recorded / "events.jsonl").read_text().split('{"event": "round"}\n')

    def write(names: tuple[str, ...]) -> None:
        for name in names:
            shutil.copy(recorded / name, folder)

    def add(place: int) -> None:
        with (folder / "metrics.jsonl").open("a") as file, (folder / "events.jsonl").open("a") as events:
            file.write(lines[place])
            events.write(rounds[place - 1] + '{"event": "round"}\n' if place else "")

    def shows(round: int, status: str = "running") -> None:
        until(lambda: cells(tab) and cells(tab)[0].startswith(f"{status}, round {round} of 4"))
        until(lambda: tab.evaluate(f"{CURVES}?.data[0].at(-1)") == round)

    with served(folder, "--port", port) as server, opened(browser, server.address) as tab:
        until(lambda: tab.locator("#no-runs").is_visible())
        write(("config.toml", "environment.json"))
        for place in range(3):
            add(place)
            shows(place)
        before = tab.locator("#graph").screenshot()
        server.process.terminate()
        until(lambda: tab.locator("#connection").get_attribute("data-state") == "lost")
        assert cells(tab)[0].startswith("running, round 2 of 4")
        add(3)
        with served(folder, "--port", port):
            until(lambda: tab.locator("#connection").inner_text() == "live")
            shows(3)
            until(lambda: tab.locator("#graph").screenshot() != before)
            (folder / "metrics.jsonl").write_text("".join(lines[:2]))
            shows(1)
            for place in range(2, 5):
                add(place)
            write(("summary.json",))
            shows(4, "finished")
            assert tab.evaluate(f"{CURVES}.data[0]") == [0, 1, 2, 3, 4]
        assert [text for text in tab.complaints if "ERR_CONNECTION" not in text and "net::" not in text] == []


def test_several_runs_are_beside_each_other(browser: Any, recorded: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(recorded, tmp_path / "both" / name)
    with served(tmp_path / "both", "--port", str(free_port())) as server, opened(browser, server.address) as tab:
        drawn(tab)
        names = f"{CURVES}.series.slice(1).map(line => line.name)"
        until(lambda: tab.evaluate(names) == ["one: dsgd", "two: dsgd"])
        tab.get_by_role("checkbox").first.uncheck()
        until(lambda: tab.evaluate(names) == ["two: dsgd"])
        assert cells(tab, 0)[1:] == cells(tab, 1)[1:]
        tab.locator("#run").select_option(label="two: dsgd")
        until(lambda: tab.evaluate("live.state.runs.get(live.state.detail?.run)?.name") == "two")


def test_what_is_only_known_at_the_end_is_in_the_table_then(browser: Any, recorded: Path, tmp_path: Path) -> None:
    """As of runs by Flower or peers: the server never sees the models before; the second plot has what is recorded."""
    folder = Path(shutil.copytree(recorded, tmp_path / "run"))
    unknown = {"consensus_distance": None, "averaged_model_accuracy": None}
    lines = [json.loads(line) | unknown for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    final = RunFolder(folder).summary()["final"]
    with served(folder, "--port", str(free_port())) as server, opened(browser, server.address) as tab:
        drawn(tab)
        expected = [f"{100 * final['averaged_model_accuracy']:.1f} %", f"{final['consensus_distance']:.3g}"]
        assert cells(tab)[3:5] == expected
        losses = [line["train_loss"] for line in lines]
        shown = "document.querySelector('#second-plot').chart.data[1].slice(1)"
        until(lambda: tab.evaluate(shown) == pytest.approx(losses[1:], rel=1e-4))
        assert tab.locator("#second").input_value() == "train_loss"
        assert tab.get_by_role("radio", name="averaged model", exact=True).is_disabled()


def test_what_strangers_wrote_stays_text(browser: Any, recorded: Path, tmp_path: Path) -> None:
    """Names of folders, nodes and devices, a study's table, and values that are no numbers."""
    hostile = HOSTILE.replace("/", "_")[:80]
    labels = [HOSTILE, "<b>b</b>", "javascript:alert(1)", "${x}"]
    topology = {"name": "edges", "edges": [[0, 1], [1, 2], [2, 3]], "labels": labels, "nodes": 4}
    folder = record(tmp_path / "all" / hostile, topology=topology)
    *lines, last = (folder / "metrics.jsonl").read_text().splitlines()
    huge = {"accuracy": [1e308, None, -1e308, 0.5], "consensus_distance": 1e308, "mean_accuracy": 1e300}
    values = {**json.loads(last), **huge}
    (folder / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(values)]) + "\n")
    study = tmp_path / "all" / "study"
    study.mkdir()
    (study / "study.toml").write_text(f"title = '''{HOSTILE}'''")
    heads = "cell,strategy,role,seeds,finished,trials,tried,mean_accuracy_mean"
    (study / "results.csv").write_text(f"{heads}\n{hostile},<i>,peer,1e999,-3,nan,2,inf\n")
    with served(tmp_path / "all", "--port", str(free_port())) as server, opened(browser, server.address) as tab:
        dialogs: list[str] = []
        tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        drawn(tab)
        tab.locator("#graph").focus()
        tab.keyboard.press("ArrowRight")
        assert hostile[:10] in tab.locator(".runs tbody").inner_text()
        assert HOSTILE in tab.locator("#study-tables h3").inner_text()
        assert tab.locator("main b, main i, main img, main script").count() == 0
        assert (tab.complaints, dialogs) == ([], [])
