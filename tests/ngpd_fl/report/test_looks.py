"""Looks of lines: by algorithm, and apart where one algorithm has several lines."""

from __future__ import annotations

from ngpd_fl.report.colors import method_color
from ngpd_fl.report.looks import looks


def test_an_algorithm_looks_the_same_whatever_is_beside_it() -> None:
    alone = looks({"ours": "ngpd"})["ours"]
    assert alone == looks({"dsgd": "dsgd", "ours": "ngpd", "zz": "ecl"})["ours"]
    assert alone.color == method_color("ngpd")
    own = looks({"mine": "mine"})["mine"]
    assert own == looks({"mine": "mine", "a": "dsgd"})["mine"] and own.color == method_color("mine")


def test_lines_of_one_algorithm_among_others_have_its_color_and_differ_in_dashes_and_markers() -> None:
    found = looks({f"ngpd (lr {number})": "ngpd" for number in range(20)} | {"dsgd": "dsgd"})
    assert len(set(found.values())) == 21
    assert {look.color for label, look in found.items() if label != "dsgd"} == {method_color("ngpd")}


def test_35_lines_of_one_algorithm_alone_look_different() -> None:
    found = looks({f"{number:02}": "ngpd" for number in range(35)})
    assert len(set(found.values())) == 35
    assert len({look.color for look in list(found.values())[:8]}) == 8
