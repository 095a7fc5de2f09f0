"""Commands import the heavy packages that they need, and no others."""

from __future__ import annotations

import pytest

from benchmarks.startup import rows

IMPORTS = {
    ("--help",): [],
    ("run", "--help"): [],
    ("deploy", "run", "--help"): [],
    ("peer", "--help"): [],
    ("keys",): ["torch"],
    ("partition", "--out", "OUT.png"): ["torch", "matplotlib"],
}


def test_commands_import_only_what_they_need() -> None:
    imports = {command: imported for command, _, imported in rows(tuple(IMPORTS), repeats=1)}
    assert imports == {" ".join(words): imported for words, imported in IMPORTS.items()}


@pytest.mark.slow
def test_graphs_and_records_need_no_more() -> None:
    commands = (("topology", "--out", "OUT.png"), ("show", "RUN"))
    assert [imported for _, _, imported in rows(commands, repeats=1)] == [["torch", "matplotlib"], ["torch"]]
