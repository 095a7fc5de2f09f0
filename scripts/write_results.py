"""Tables and figures of the results, made from the files of the studies in ``benchmarks/studies/results``.

    python scripts/write_results.py [FOLDER]     # of the repository (default: this one)

It writes docs/explanation/results.md, README.md and the pictures in docs/images. What stands between a line
``<!-- results: NAME -->`` and the next line ``<!-- end of results -->`` in a page is made:
``summary``, ``behind``, ``pace``, ``readme``, or the table of the study NAME.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from ngpd_fl.report.pictures.style import save  # noqa: E402
from results import curves, figure, leads, tables  # noqa: E402
from results.cells import read_studies  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/explanation/results.md", "README.md")
PICTURES = {
    "docs/images/results.png": figure.figure,
    "docs/images/leads.png": leads.figure,
    "docs/images/curves.png": curves.figure,
}
MARKED = re.compile(
    r"(?<=^<!-- results: )([\w-]+) -->\n(?:(?!^<!-- results: ).)*?(?=^<!-- end of results -->$)",
    re.DOTALL | re.MULTILINE,
)


def main(root: Path) -> None:
    """Write the pages and the pictures in a copy of the repository."""
    studies = read_studies()
    made = {"summary": tables.summary, "behind": tables.behind, "pace": curves.pace, "readme": tables.readme}

    def part(match: re.Match[str]) -> str:
        name = match[1]
        if name not in {*made, *studies}:
            sys.exit(f"results: {name!r} in a page is no table; allowed: {', '.join([*made, *studies])}")
        text = made[name](studies) if name in made else tables.study_table(studies[name])
        return f"{name} -->\n\n{text}\n\n"

    for page in PAGES:
        path = root / page
        text = path.read_text(encoding="utf-8")
        written, count = MARKED.subn(part, text)
        if count < text.count("<!-- results: "):
            sys.exit(f"{page}: a line `<!-- results: NAME -->` lacks its `<!-- end of results -->`")
        path.write_text(written, encoding="utf-8")
    for name, draw in PICTURES.items():
        save(draw(studies), root / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
