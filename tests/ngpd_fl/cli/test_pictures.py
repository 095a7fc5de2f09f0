"""``ngpd-fl topology`` and ``ngpd-fl partition``: a picture, and figures that agree with their oracles."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PNG = b"\x89PNG\r\n\x1a\n"


def figures(out: str) -> dict[str, str]:
    """The lines ``what   value``."""
    pairs = (line.split("  ", 1) for line in out.splitlines() if "  " in line)
    return {what.strip(): value.strip() for what, value in pairs}


def test_a_ring(cli: Callable[..., Any], here: Path) -> None:
    said = cli("topology", "--topology", "ring", "--nodes", "12", "--out", "graph.png")
    assert said.code == 0
    assert (here / "graph.png").read_bytes().startswith(PNG)
    found = figures(said.out)
    assert (found["nodes"], found["edges"], found["diameter"], found["schedule"]) == ("12", "12", "6", "static")
    assert found["degrees"] == "min 2, mean 2.00, max 2"
    # W has 1/3 everywhere: eigenvalues (1 + 2 cos(2 pi k / N)) / 3.
    assert float(found["spectral gap"]) == pytest.approx(2 / 3 * (1 - math.cos(2 * math.pi / 12)), abs=1e-4)
    assert found["weights"] == "metropolis, doubly stochastic"


def test_a_star_with_uniform_weights_is_not_doubly_stochastic(cli: Callable[..., Any]) -> None:
    said = cli("topology", "--topology", "star", "--nodes", "5", "--set", "topology.weights=uniform")
    assert figures(said.out)["degrees"] == "min 1, mean 1.60, max 4"
    assert figures(said.out)["weights"] == "uniform, not doubly stochastic"


def test_a_graph_that_varies(cli: Callable[..., Any]) -> None:
    found = figures(cli("topology", "--set", "topology.schedule=matching").out)
    assert found["schedule"].startswith("drawn in each round; 3.")
    assert "spectral gap" not in found  # of which round?
    assert 0 < float(found["consensus rate"].split()[0]) < 1


def test_pictures_get_free_names(cli: Callable[..., Any], here: Path) -> None:
    for _ in range(2):
        assert cli("topology", "--nodes", "4").code == 0
    assert cli("partition", "--nodes", "4").code == 0
    assert {path.name for path in (here / "runs").iterdir()} == {
        "ring-4-1.png",
        "ring-4-2.png",
        "digits-classes-4-1.png",
    }


@pytest.mark.parametrize(("suffix", "head"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", PNG)])
def test_kinds_of_pictures(cli: Callable[..., Any], here: Path, suffix: str, head: bytes) -> None:
    assert cli("topology", "--out", f"graph.{suffix}").code == 0
    assert (here / f"graph.{suffix}").read_bytes().startswith(head)


def test_a_split(cli: Callable[..., Any], here: Path) -> None:
    said = cli("partition", "--nodes", "4", "--out", "split.png")
    assert said.code == 0
    assert (here / "split.png").read_bytes().startswith(PNG)
    found = figures(said.out)
    # Nodes hold two of the ten classes each and nothing in common: 1 - 1/4, and log2 of 4 nodes.
    assert float(found["total variation"].split()[0]) == pytest.approx(0.75, abs=0.001)
    assert float(found["Jensen-Shannon"].split()[0]) == pytest.approx(2, abs=0.001)
    assert found["classes on no node"] == "8, 9"
    assert found["classes per node"] == "mean 2.00 of 10"


def test_an_even_split(cli: Callable[..., Any]) -> None:
    found = figures(cli("partition", "--partition", "iid", "--nodes", "2").out)
    assert found["images per node"] == "min 649, mean 649.0, max 649"
    assert float(found["total variation"].split()[0]) < 0.1
    assert found["classes on no node"] == "none"


def test_a_file_says_what_to_draw(cli: Callable[..., Any], here: Path) -> None:
    (here / "c.toml").write_text('[topology]\nname = "star"\nnodes = 6\n[partition]\nname = "iid"\n')
    assert "star of 6 nodes" in cli("topology", "--config", "c.toml").out
    assert "digits, iid" in cli("partition", "--config", "c.toml").out
