"""The documentation's site: pages, galleries and pictures put together, then built by Zensical.

    python scripts/build_site.py [SITE]     # into SITE (default: site/); a warning is an error

A line ``<!-- gallery: NAME -->`` in a page is where a gallery comes, made from the code that the page is about. Pages
that lie beside ``docs/`` are brought in, and links to files that are no pages become plain words.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from gallery import algorithms, devices, layers, partitions, studies, topologies  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BROUGHT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that lie beside docs/ -> their names in the site."""

GALLERIES = {
    "algorithms": algorithms.gallery,
    "topologies": topologies.gallery,
    "partitions": partitions.gallery,
    "layers": layers.gallery,
    "devices": devices.gallery,
    "studies": studies.gallery,
}


def main(site: Path) -> int:
    """Put the pages together and build the site; return Zensical's exit code."""
    with tempfile.TemporaryDirectory() as folder:  # of its own, so that two builds at once do not meet
        build = Path(folder).resolve()
        pages = build / "docs"
        shutil.copytree(ROOT / "docs", pages)
        for source, name in BROUGHT.items():
            shutil.copy(ROOT / source, pages / name)
        for name, picture in {**topologies.pictures(), **partitions.pictures()}.items():
            (pages / name).parent.mkdir(parents=True, exist_ok=True)
            (pages / name).write_bytes(picture)
        for page in sorted(pages.rglob("*.md")):
            page.write_text(_completed(page, pages), encoding="utf-8")
        config = build / "zensical.toml"
        text = (ROOT / config.name).read_text(encoding="utf-8")
        config.write_text(text.replace('paths = ["."]', f"paths = ['{ROOT}']"), encoding="utf-8")
        words = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(config)]
        code = subprocess.run(words, cwd=build, check=False).returncode
        if code == 0:
            shutil.rmtree(site, ignore_errors=True)
            shutil.copytree(build / "site", site)
    return code


def _completed(page: Path, pages: Path) -> str:
    """Return a page with its galleries, and with links that lead to pages of the site."""
    markdown = page.read_text(encoding="utf-8")
    marker = r"^<!-- gallery: (\w+) -->$"
    markdown = re.sub(marker, lambda match: GALLERIES[match[1]](), markdown, flags=re.MULTILINE)
    name = page.relative_to(pages).as_posix()
    source = {to: of for of, to in BROUGHT.items()}.get(name, f"docs/{name}")
    # Fenced code is left as it is.
    parts = re.split(r"(^ *```.*?^ *```)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if index % 2 else _relinked(part, source, name, pages) for index, part in enumerate(parts))


def _relinked(markdown: str, source: str, name: str, pages: Path) -> str:
    """Point the links of a file of the repository to pages of the site; those to other files become plain words."""

    def page_link(match: re.Match[str]) -> str:
        words, path, anchor = match["words"], match["path"], match["anchor"] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = BROUGHT.get(target, target.removeprefix("docs/"))
        if not (pages / place).is_file():
            return match[0] if words.startswith("!") else words[1:-1]
        return f"{words}({posixpath.relpath(place, posixpath.dirname(name) or '.')}{anchor})"

    link = r"(?P<words>!?\[[^\[\]]*\])\((?![a-z]+:|#)(?P<path>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)"
    return re.sub(link, page_link, markdown)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"))
