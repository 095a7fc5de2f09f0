"""The documentation works as written: programs run, files are valid, commands are known, the site is built.

A `sh` block with `<!-- run -->` in the line before it is run; of any other each `ngpd-fl` command is only read, with
its flags and keys.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import typer

from ngpd_fl.cli.app import app, main
from ngpd_fl.cli.flags import ConfigFlags
from ngpd_fl.config import Config
from ngpd_fl.data.description import Description
from ngpd_fl.devices.table import read_table
from ngpd_fl.peer.transport.peers import Peers
from ngpd_fl.study import StudyPlan
from ngpd_fl.sweep import SweepPlan

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "toml", "sh", "diff", "text"}
STORY = "docs/tutorials/add-an-algorithm.md"
"""The page whose blocks are executed one after the other, in a copy of the repository."""


class Block(NamedTuple):
    """A fenced block: its place, language, file name if it has one, whether it is to be run, and its text."""

    place: str
    language: str
    title: str | None
    runs: bool
    text: str


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    fence = r"^(?P<run><!-- run -->\n)?(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$"
    for match in re.finditer(fence, text, re.DOTALL | re.MULTILINE):
        language, _, rest = match["info"].partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        place = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start('info')) + 1}"
        yield Block(place, language, title and title[1], match["run"] is not None, match["text"])


def commands_of(block: Block) -> list[list[str]]:
    """Return the words of each command of a shell block; lines that end with a backslash go on."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
TOGETHER = [block for block in BLOCKS if not block.place.startswith(f"{STORY}:")]
SHELL = [block for block in TOGETHER if block.language == "sh"]
OURS = [
    pytest.param(words[1:], id=f"{block.place}-{number}")
    for block in SHELL
    for number, words in enumerate(commands_of(block))
    if Path(words[0]).name == "ngpd-fl"
]


def test_every_block_names_its_language() -> None:
    assert {block.place: block.language for block in BLOCKS if block.language not in LANGUAGES} == {}
    fences = sum(len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in PAGES)
    assert fences == 2 * len(BLOCKS)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(block.text, id=block.place, marks=[pytest.mark.slow] * ("run_flower" in block.text))
        for block in TOGETHER
        if block.language == "python"
    ],
)
def test_python_examples_run(
    code: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "mean_accuracy" in printed or "mean_rmse" in printed


def read_file(path: Path) -> Any:
    """Read a TOML file as the kind of file that its keys indicate; raise an error if it is not valid."""
    keys = tomllib.loads(path.read_text(encoding="utf-8"))
    if "peers" in keys:
        return Peers.read(path)
    if "sweep" in keys:
        return SweepPlan.read(path)
    if "strategies" in keys:
        return StudyPlan.read(path)
    if "classes" in keys or "targets" in keys:
        return Description.read(path.parent)
    if set(keys) <= set(Config.model_fields):
        return Config.load(path)
    return read_table(path)


@pytest.mark.parametrize(
    "text", [pytest.param(block.text, id=block.place) for block in BLOCKS if block.language == "toml"]
)
def test_toml_examples_are_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"  # the one kind of file whose name matters
    path.write_text(text, encoding="utf-8")
    assert read_file(path)


def read_command(words: list[str]) -> click.Context:
    """Parse a command as the command line does, down to the last flag, without running it."""
    command: click.Command = typer.main.get_command(app)
    context = command.make_context("ngpd-fl", list(words), resilient_parsing=False)
    while isinstance(context.command, click.Group):
        name, inner, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        context = inner.make_context(name, rest, parent=context)
    return context


def settings_of(given: dict[str, Any]) -> list[Config]:
    """Return the configurations of a command's flags; an error where a key or a value is not allowed."""
    if given.get("strategies"):
        from ngpd_fl.cli.compare import _configs

        return list(_configs(given["strategies"], ConfigFlags.of(given | {"config": None})).values())
    return [ConfigFlags.of(given | {"config": None}).load()] if "assignments" in given else []


@pytest.mark.parametrize("words", OURS)
def test_commands_are_known_with_their_flags_and_keys(words: list[str]) -> None:
    settings_of(read_command(words).params)


@pytest.mark.parametrize("wrong", [["run", "--round", "3"], ["train"], ["deploy", "key", "DIR"], ["run", "a"]])
def test_a_command_that_is_not_known_is_found(wrong: list[str]) -> None:
    with pytest.raises(click.UsageError):
        read_command(wrong)


def test_the_flower_run_of_the_page_sets_keys_that_the_app_has() -> None:
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flwr"]["app"]["config"]
    settings = [
        words[words.index("-c") + 1] for block in SHELL for words in commands_of(block) if words[:2] == ["flwr", "run"]
    ]
    assert settings
    assert {setting.partition("=")[0] for line in settings for setting in shlex.split(line)} <= set(allowed)


def test_make_knows_what_the_pages_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"[`\n]make ([a-z-]+)", text)) <= targets


@pytest.mark.parametrize("page", sorted({block.place.partition(":")[0] for block in TOGETHER if block.runs}))
def test_quick_commands_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in one folder, in which the page's files lie."""
    monkeypatch.chdir(tmp_path)
    for block in TOGETHER:
        if not block.place.startswith(f"{page}:"):
            continue
        if block.title is not None:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
        for words in commands_of(block) if block.runs else []:
            if Path(words[0]).name == "ngpd-fl":
                assert main(words[1:]) == 0, f"{block.place}: {shlex.join(words)}"


def test_the_page_on_adding_an_algorithm_works_step_by_step(tmp_path: Path) -> None:
    for name in ("ngpd_fl", "strategies", "topologies", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, start in {"python": "", "ngpd-fl": "-m ngpd_fl"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {start} "$@"\n')
        (programs / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "PYTHONSAFEPATH": "",
    }

    def do(*words: str, given: str = "") -> None:
        done = subprocess.run(words, cwd=tmp_path, env=environment, input=given, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    for block in blocks_of(ROOT / STORY):
        if block.language == "diff":
            do("git", "apply", "--recount", "-", given=block.text)
        elif block.language == "python" and block.title is not None:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
            do(sys.executable, "-m", "ruff", "check", block.title)
            do(sys.executable, "-m", "ruff", "format", "--check", block.title)
        elif block.language == "python":
            do("python", "-c", block.text)
        elif block.language == "sh":
            do("sh", "-e", given=block.text)
    assert (tmp_path / "runs" / "polyak" / "polyak" / "summary.json").is_file()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 700


def test_the_architecture_page_names_files_that_exist() -> None:
    docs = ROOT / "docs"
    file_name = r"\b[\w/]+\.py\b"
    page = re.findall(file_name, (docs / "explanation" / "architecture.md").read_text(encoding="utf-8"))
    picture = re.findall(file_name, (docs / "images" / "flow.svg").read_text(encoding="utf-8"))
    assert len(set(picture)) == len(picture) == 10
    named = {*page, *picture}
    assert {name for name in named if not any((ROOT / folder / name).is_file() for folder in ("", "ngpd_fl"))} == set()


def test_every_page_is_in_the_menu_and_on_the_landing_page() -> None:
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    menu = set(re.findall(r'= "([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8")))
    assert menu == pages | {"changelog.md", "contributing.md"}
    landing = set(re.findall(r"\]\(([\w/-]+\.md)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert landing == pages - {"index.md"}


def test_titles_are_those_of_the_menu() -> None:
    menu = re.findall(r'"(.+)" = "([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    pages = {page: name for name, page in menu if (ROOT / "docs" / page).is_file() and page != "index.md"}
    heads = {page: (ROOT / "docs" / page).read_text(encoding="utf-8").partition("\n")[0] for page in pages}
    assert heads == {page: f"# {name}" for page, name in pages.items()}


def test_the_citation_names_the_newest_release_and_the_paper() -> None:
    releases = re.findall(r"^## \[(\d[\d.]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert {"cff-version: 1.2.0", f"version: {releases[0]}", "  doi: 10.1109/TSIPN.2024.3388948"} <= set(citation)


ANCHOR = r"<span id=\"([a-z0-9-]+)\" class=\"anchor\">"


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = r"<(?:script|img|iframe)[^>]*\ssrc=\"?(?:https?:)?//|<link(?![^>]*canonical)[^>]*href=\"?(?:https?:)?//"
    pages = sorted(site.rglob("*.html"))
    assert pages
    assert [page.name for page in pages if re.search(loaded, page.read_text(encoding="utf-8"))] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']*", styles) == []


def test_the_gallery_holds_every_algorithm_and_where_it_rests(site: Path) -> None:
    from strategies import STRATEGIES

    page = (site / "reference" / "algorithms.html").read_text(encoding="utf-8")
    assert set(STRATEGIES) == set(re.findall(ANCHOR, page))
    rests = dict(re.findall(ANCHOR + r".*?Rests at: ([a-z ]+)", page, re.DOTALL))
    biased = {name for name, point in rests.items() if point.startswith("a biased point")}
    # As tests/strategies say of each: test_rest_points, test_baselines, test_push, and those named after an algorithm.
    assert {"dsgd", "kfac-gossip", "qg-dsgdm", "ad-psgd", "sgp", "gut"} <= biased
    exact = {"ngpd", "ecl", "d2", "exact-diffusion", "gradient-tracking", "momentum-tracking", "relay-sgd"}
    exact |= {"gtadam", "lt-admm", "dinno", "ngpd-tracking"}
    assert {name for name, point in rests.items() if point.startswith("the exact minimizer")} >= exact
    assert {name for name, point in rests.items() if point.startswith("no point")} == {"demuon", "suda-muon"}


def test_the_galleries_hold_every_topology_and_their_pictures(site: Path) -> None:
    from topologies import TOPOLOGIES

    page = (site / "reference" / "topologies.html").read_text(encoding="utf-8")
    assert set(TOPOLOGIES) <= set(re.findall(ANCHOR, page))
    pictures = re.findall(r"src=\"\.\./(images/[a-z-]+/[a-z-]+\.svg)\"", page)
    assert len(pictures) > 15
    assert all((site / picture).is_file() for picture in pictures)
