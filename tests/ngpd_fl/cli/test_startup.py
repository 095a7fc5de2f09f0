"""Commands import the heavy packages that they need, and no others."""

from __future__ import annotations

import pytest

from benchmarks.startup import rows

IMPORTS = {
    ("--help",): [],
    ("run", "--help"): [],
    ("deploy", "run", "--help"): [],
    ("peer", "--help"): [],
    ("keys",): [],
    ("topology", "--out", "OUT.png"): ["matplotlib"],
    ("partition", "--out", "OUT.png"): ["torch", "matplotlib"],
}


def test_commands_import_only_what_they_need() -> None:
    imports = {command: imported for command, _, imported in rows(tuple(IMPORTS), repeats=1)}
    assert imports == {" ".join(words): imported for words, imported in IMPORTS.items()}


@pytest.mark.slow
def test_records_need_no_more() -> None:
    assert [imported for _, _, imported in rows([("show", "RUN")], repeats=1)] == [[]]
