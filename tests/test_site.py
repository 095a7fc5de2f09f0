"""The site's pages agree with the code, and its search works in a browser."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import ngpd_fl
import strategies.public
import topologies.public

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"


def templates() -> Iterator[str]:
    """Yield every text in the code; ``...`` stands for what is filled in."""
    for package in ("ngpd_fl", "strategies", "topologies"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)


def test_troubleshooting_quotes_messages_that_exist() -> None:
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 15
    code = "\n".join(text for text in templates() if "\n" not in text)
    assert [message for message in messages if not re.search(re.escape(message).replace(r"\.\.\.", ".*"), code)] == []


def test_the_api_reference_holds_every_public_name() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("api*.md"))
    documented = set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))
    public = {f"ngpd_fl.{name}" for name in ngpd_fl.__all__}
    for package in (strategies.public, topologies.public):
        for name in package.__all__:
            thing = getattr(package, name)
            # Algorithms and families have galleries; the contract and the functions are documented here.
            if inspect.isfunction(thing) or getattr(thing, "__module__", "") == "strategies.contract":
                public.add(f"{package.__package__}.{name}")
    assert public - documented == set()


def test_the_table_of_layers_agrees_with_training(site: Path) -> None:
    page = (site / "reference" / "layers.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr>\s*<td>(.*?)</td>\s*<td>(.*?)</td>\s*<td>(.*?)</td>", page, re.DOTALL)
    verdicts = {re.sub("<[^>]+>", "", layer): (kfac[:7], first[:7]) for layer, kfac, first in rows}
    assert verdicts["Linear"] == verdicts["Conv1d"] == ("Kroneck", "yes") and verdicts["GroupNorm"] == (
        "diagona",
        "yes",
    )
    assert verdicts["one layer used several times"] == ("yes", "yes")
    assert verdicts["BatchNorm2d"] == ("refused", "refused")


class QuietHandler(SimpleHTTPRequestHandler):
    """A handler of requests for files that prints nothing."""

    def log_message(self, *words: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Address at which the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_search_finds_pages_and_loads_nothing_from_elsewhere(address: str, width: int) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    console: list[tuple[str, str]] = []
    requested: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: console.append((message.type, message.text)))
        page.on("pageerror", lambda error: console.append(("error", str(error))))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(address + "index.html", wait_until="networkidle")
        page.keyboard.press("/")
        page.keyboard.type("trust radius", delay=30)
        page.locator("a[href*='settings.html?h=trust']").first.wait_for(timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert [text for kind, text in console if kind == "error"] == []
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []
