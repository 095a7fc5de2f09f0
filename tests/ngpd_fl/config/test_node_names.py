"""Nodes named by their labels: one order from Python and from a file, and the same nodes wherever one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from ngpd_fl import Config, InputError, RunFolder, run
from ngpd_fl.cli.app import main
from ngpd_fl.config import build_topology
from ngpd_fl.report.pictures.graph import graph_figure
from ngpd_fl.report.pictures.partition import partition_figure
from topologies import TopologyOptions

ROOMS = nx.Graph([("kitchen", "hall"), ("hall", "attic"), ("attic", "kitchen"), ("attic", "cellar")])
"""In order: attic, cellar, hall, kitchen."""

FAULTS: dict[str, Any] = {
    "leave": [{"node": "hall", "at_s": 1.0, "until_s": 2.0}],
    "slow": [{"node": "cellar", "factor": 2.0}],
    "cut": [{"edges": [["hall", "attic"]]}, {"groups": [["attic", "hall"], ["cellar", 3]], "until_s": 4.0}],
    "corrupt": [{"node": "kitchen", "kind": "nan", "at_s": 5.0}],
    "byzantine": [{"node": 0, "kind": "sign-flip", "at_s": 5.0}],
}


@pytest.mark.parametrize(
    "labels",
    [
        ["0", "1", "2", "9", "10", "11"],
        ["1", "2", "10"],
        ["-3", "7", "70"],
        ["node1", "node2", "node10"],
        ["01", "1", "2"],
        ["2b", "10", "10a", "a", "a2", "a10", "b"],
        ["9" * 5000, "1" + "0" * 5000],
    ],
)
def test_python_and_a_file_number_labels_alike(tmp_path: Path, labels: list[str]) -> None:
    names = labels[1::2] + labels[::2]  # not in order
    graph = nx.path_graph(names)
    nx.write_edgelist(graph, tmp_path / "graph.txt", data=False)
    from_python = Config(topology=graph)
    from_file = Config(topology={"name": "file", "path": str(tmp_path / "graph.txt")})
    assert build_topology(from_python).edges.tolist() == build_topology(from_file).edges.tolist()
    for config in (from_python, from_file):
        assert list(config.topology.node_names) == labels
        edges = {frozenset((labels[i], labels[j])) for i, j in build_topology(config).edges.tolist()}
        assert edges == {frozenset(edge) for edge in graph.edges}


def test_numbers_are_by_value_whatever_their_type_and_tuples_by_what_is_in_them() -> None:
    assert Config(topology=nx.path_graph([10, 9, 100])).topology.node_names == ("9", "10", "100")
    assert Config(topology=nx.path_graph(["b", 10, "9"])).topology.node_names == ("9", "10", "b")
    grid = Config(topology=nx.grid_2d_graph(2, 11)).topology
    assert grid.node_names[:4] == ("(0, 0)", "(0, 1)", "(0, 2)", "(0, 3)") and grid.node_names[10] == "(0, 10)"
    assert Config(topology=nx.path_graph([1, "1", 0])).topology.node_names == ("0", "1", "'1'")


def test_labels_that_are_the_numbers_are_not_recorded() -> None:
    assert "labels" not in Config(topology=nx.path_graph(["1", "0", "2"])).to_toml()


def test_what_is_given_for_a_node_may_name_it() -> None:
    by_name = Config(topology=ROOMS, devices={"slow": {"hall": 10.0, "3": 2.0}}, faults=FAULTS)
    assert by_name.devices.slow == {2: 10.0, 3: 2.0}
    faults = by_name.faults
    assert faults.nodes() == {"leave": {2}, "slow": {1}, "cut": {0, 1, 2, 3}, "corrupt": {3}, "byzantine": {0}}
    assert faults.cut[0].edges == ((2, 0),) and faults.cut[1].groups == ((0, 2), (1, 3))


@pytest.mark.parametrize("topology", [{"nodes": 100_000}, ROOMS])
def test_a_number_as_text_is_a_number(topology: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nodes without labels are many: their names are not listed."""
    monkeypatch.setattr(TopologyOptions, "node_names", property(lambda _: pytest.fail("a name for each node")))
    faults = {"leave": [{"node": "3", "at_s": 1.0}]}
    config = Config(topology=topology, devices={"slow": {"3": 2.0}}, faults=faults)
    assert config.devices.slow == {3: 2.0} and config.faults.leave[0].node == 3
    assert "slow" in config.to_toml()
    with pytest.raises(InputError, match="devices.slow: a node is named twice"):
        Config(topology=topology, devices={"slow": {"3": 2.0, 3: 2.0}})


@pytest.mark.parametrize("graph", [ROOMS, nx.path_graph([1, 2, 3, 4]), nx.path_graph(4)])
def test_a_record_is_read_as_it_was_written(tmp_path: Path, graph: nx.Graph) -> None:
    """Also where a label is another node's number."""
    config = Config(topology=graph, devices={"slow": {2: 10.0}}, faults={"leave": [{"node": 1, "at_s": 1.0}]})
    assert config.devices.slow == {2: 10.0} or graph.has_node(4)
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert Config.load(tmp_path / "config.toml") == config
    assert Config(**config.model_dump(mode="json", exclude_none=True)) == config


@pytest.mark.parametrize(
    ("section", "values", "key"),
    [
        ("faults", {"leave": [{"node": "attic"}, {"node": "atttic"}]}, "faults.leave.1.node"),
        ("faults", {"cut": [{"edges": [["hall", "atttic"]]}]}, "faults.cut.0.edges"),
        ("devices", {"slow": {"atttic": 2}}, "devices.slow"),
    ],
)
def test_a_label_that_is_none_is_named(section: str, values: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as raised:
        Config(topology=ROOMS, **{section: values})
    message = str(raised.value)
    assert message == f"{key}: there is no node 'atttic'; allowed: attic, cellar, hall, kitchen, or 0 to 3"


def test_a_node_named_twice_is_refused() -> None:
    with pytest.raises(InputError, match="devices.slow: a node is named twice"):
        Config(topology=ROOMS, devices={"slow": {"hall": 2.0, 2: 3.0}})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["a", "b"], "topology.labels: must be as many as nodes, 3 (got 2)"),
        (["a", "b", "a"], "topology.labels: must be different (got 'a' twice)"),
        (["a", "b", "c\n"], "topology.labels: must be printable texts (got 'c\\n')"),
        (["a", "b", " "], "topology.labels: must be printable texts (got ' ')"),
    ],
)
def test_labels_that_cannot_be_used(labels: list[str], words: str) -> None:
    with pytest.raises(InputError) as raised:
        Config(topology={"name": "edges", "nodes": 3, "edges": [[0, 1], [1, 2]], "labels": labels})
    assert str(raised.value) == words


def test_a_runs_records_keep_the_labels(tmp_path: Path) -> None:
    config = Config(topology=ROOMS, training={"rounds": 1, "local_steps": 1}, strategy="dsgd")
    run(config, tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").config().topology.node_names == ("attic", "cellar", "hall", "kitchen")


def test_pictures_and_tables_show_the_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a$1$", "cellar", "hall", "kitchen")
    graph = nx.relabel_nodes(ROOMS, {"attic": "a$1$"})
    config = Config(
        topology=graph, training={"rounds": 1, "local_steps": 1}, strategy="dsgd", devices={"slow": {"hall": 2.0}}
    )
    result = run(config, tmp_path / "run", event_log=True)
    topology = build_topology(config)
    (axes,) = graph_figure(config, topology).axes
    shown = [text.get_text().replace("\\$", "$") for text in axes.texts[1:]]
    assert shown == list(names)
    counts = RunFolder.open(tmp_path / "run").label_counts()
    assert counts is not None
    figure = partition_figure(config, counts)
    figure.draw_without_rendering()
    ticks = [text.get_text().replace("\\$", "$") for text in figure.axes[1].get_xticklabels()]
    assert set(names) <= set(ticks)
    for words in (["show", str(tmp_path / "run")], ["evaluate", str(tmp_path / "run")]):
        assert main(words) == 0
        accuracies = result.metrics[-1].nodes
        assert f"({_prefix(words)}{names[accuracies.index(min(accuracies))]})" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert '"names":["a$1$","cellar","hall","kitchen"]' in page.replace(", ", ",").replace(": ", ":")
    capsys.readouterr()
    (tmp_path / "graph.csv").write_text("kitchen,hall\nhall,attic")
    given = ["--set", "topology.name=file", "--set", f"topology.path={tmp_path / 'graph.csv'}"]
    assert main(["topology", *given, "--out", str(tmp_path / "graph.svg")]) == 0
    assert "0 attic, 1 hall, 2 kitchen" in capsys.readouterr().out
    assert main(["partition", *given, "--out", str(tmp_path / "split.png")]) == 0
    assert "attic" in capsys.readouterr().out


def _prefix(words: list[str]) -> str:
    return "node " if words[0] == "evaluate" else ""
