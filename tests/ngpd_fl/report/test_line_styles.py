"""Looks of lines: by algorithm, and apart where one algorithm has several lines."""

from __future__ import annotations

from ngpd_fl.report.colors import method_color
from ngpd_fl.report.line_styles import line_styles


def test_an_algorithm_looks_the_same_whatever_is_beside_it() -> None:
    alone = line_styles({"ours": "ngpd"})["ours"]
    assert alone == line_styles({"dsgd": "dsgd", "ours": "ngpd", "zz": "ecl"})["ours"]
    assert alone.color == method_color("ngpd")
    own = line_styles({"mine": "mine"})["mine"]
    assert own == line_styles({"mine": "mine", "a": "dsgd"})["mine"] and own.color == method_color("mine")


def test_lines_of_one_algorithm_among_others_have_its_color_and_differ_in_dashes_and_markers() -> None:
    found = line_styles({f"ngpd (lr {number})": "ngpd" for number in range(20)} | {"dsgd": "dsgd"})
    assert len(set(found.values())) == 21
    assert {style.color for label, style in found.items() if label != "dsgd"} == {method_color("ngpd")}


def test_35_lines_of_one_algorithm_alone_look_different() -> None:
    found = line_styles({f"{number:02}": "ngpd" for number in range(35)})
    assert len(set(found.values())) == 35
    assert len({style.color for style in list(found.values())[:8]}) == 8
