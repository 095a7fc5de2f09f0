"""The gallery of topologies: each family drawn with 16 nodes, measured, and its options."""

from __future__ import annotations

from gallery.markdown import doc_text, folded, options_table, picture_cards, table
from gallery.picture import svg
from ngpd_fl.cli.topology import measures
from ngpd_fl.config import Config, build_topology
from ngpd_fl.report.pictures.graph import graph_figure
from ngpd_fl.report.pictures.style import drawing
from topologies import TOPOLOGIES

_NODES = 16


def gallery() -> str:
    """Return a table and pictures of the families that need no given graph, and every family's options to unfold."""
    measured = {
        name: dict(measures(build_topology(config), config.topology.weights)) for name, config in drawn().items()
    }
    body = (
        [
            f"[`{name}`](#{name})",
            values.get("degrees") or values["out-degrees"],
            values.get("spectral gap", ""),
            values.get("consensus rate", "").partition(" (")[0],
            values["schedule"],
        ]
        for name, values in measured.items()
    )
    overview = table(["family", "neighbors", "spectral gap", "consensus rate", "in time"], body)
    cards = picture_cards([(name, f"../{_picture(name)}") for name in measured])
    return "\n\n".join([overview, cards, *(folded(name, _section(name, measured.get(name))) for name in TOPOLOGIES)])


@drawing()
def pictures() -> dict[str, bytes]:
    """Return each family's picture, as SVG, by its name in the site."""
    return {_picture(name): svg(graph_figure(config, build_topology(config))) for name, config in drawn().items()}


def drawn() -> dict[str, Config]:
    """Return a configuration of each family that is drawn: those that need nothing but a number of nodes."""
    # SGP, since it takes graphs of every kind.
    return {
        name: Config.model_validate({"topology": {"name": name, "nodes": _NODES}, "strategy": "sgp"})
        for name, options in TOPOLOGIES.items()
        if not any(field.is_required() for field in options.model_fields.values())
    }


def _section(name: str, measured: dict[str, str] | None) -> str:
    parts = []
    parts.append(doc_text(TOPOLOGIES[name]))
    if measured is not None:
        parts.append("\n".join(f"* {key}: {measured[key]}" for key in measured if key != "nodes"))
    return "\n\n".join([*parts, options_table("topology", TOPOLOGIES[name])])


def _picture(name: str) -> str:
    return f"images/topologies/{name}.svg"
