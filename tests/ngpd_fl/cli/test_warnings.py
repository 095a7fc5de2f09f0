"""Warnings of settings that are possible, but hardly what was meant: one line on stderr."""

from __future__ import annotations

import pytest

from tests.ngpd_fl.cli.conftest import Command

SHORT = ("--rounds", "1", "--local-steps", "1", "--model", "softmax")
RING = "ngpd-fl: warning: topology: a torus of 5 nodes, a prime number, has a single row: it is a ring\n"
ALONE = "ngpd-fl: warning: one strategy compares with nothing; --strategies takes several, e.g. ngpd,dsgd\n"


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        (("--nodes", "5"), RING),
        (("--nodes", "6"), ""),
        (("--nodes", "5", "--set", "topology.rows=1"), ""),
        (("--nodes", "5", "--topology", "ring"), ""),
    ],
)
def test_a_torus_of_a_prime_number_of_nodes(flags: tuple[str, ...], warning: str, cli: Command) -> None:
    said = cli("topology", "--topology", "torus", *flags)
    assert (said.code, said.err) == (0, warning)


def test_a_comparison_of_one_strategy(quick: Command) -> None:
    words = ("compare", *SHORT, "--topology", "torus", "--nodes", "5", "--strategies")
    assert quick(*words, "dsgd").err.startswith(ALONE + RING + "dsgd  round")
    assert quick(*words, "dsgd,ecl").err.startswith(RING + "dsgd  round")
    assert quick(*words, "dsgd", "--quiet").err == ""


def test_a_quiet_run_says_nothing(quick: Command) -> None:
    assert quick("run", *SHORT, "--topology", "torus", "--nodes", "5", "--quiet") == (0, "", "")
