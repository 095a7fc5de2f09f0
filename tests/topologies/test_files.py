"""Graphs from files: what is read, what a record keeps, what is refused."""

import tomllib

import networkx as nx
import pytest
import tomli_w
from pydantic import ValidationError

from topologies import FileOptions, parse_topology

WRITERS = {
    ".edgelist": nx.write_edgelist,
    ".txt": lambda graph, path: nx.write_edgelist(graph, path, data=False),
    ".csv": lambda graph, path: nx.write_edgelist(graph, path, delimiter=",", data=False),
    ".adjlist": nx.write_adjlist,
    ".graphml": nx.write_graphml,
    ".gml": nx.write_gml,
    ".gexf": nx.write_gexf,
    ".g6": nx.write_graph6,
}


def finding(**values):
    with pytest.raises(ValidationError) as caught:
        parse_topology({"name": "file", **values})
    (error,) = caught.value.errors()
    detail = error["msg"].removeprefix("Value error, ")
    assert "\n" not in detail and error["loc"] == ()
    return detail


@pytest.mark.parametrize("ending", sorted(WRITERS))
@pytest.mark.parametrize("make", [nx.petersen_graph, lambda: nx.path_graph(12), lambda: nx.path_graph(2)])
def test_what_networkx_writes_is_read(tmp_path, ending, make):
    graph = make()
    path = tmp_path / f"graph{ending}"
    WRITERS[ending](graph, path)
    options = FileOptions(path=path)
    assert options.nodes == len(graph)
    assert nx.utils.edges_equal(options.graph(0).edges, graph.edges)  # "10" comes after "9"
    assert nx.utils.graphs_equal(options.build(3).graph, options.graph(0))


def test_weights_in_a_file_are_not_read(tmp_path):
    graph = nx.cycle_graph(5)
    nx.set_edge_attributes(graph, 0.3, "weight")
    for ending in (".edgelist", ".graphml"):
        WRITERS[ending](graph, tmp_path / f"graph{ending}")
        assert nx.utils.graphs_equal(FileOptions(path=tmp_path / f"graph{ending}").graph(0), nx.cycle_graph(5))


@pytest.mark.parametrize(
    "ending, text, edges",
    [
        (".txt", "# towns\noslo bern\n\nbern rome  5.5 # by night\nrome oslo\n", [[0, 1], [0, 2], [1, 2]]),
        (".txt", "10 9\n9\t-1", [[0, 1], [1, 2]]),  # by value
        (".txt", "1 01\n01 2", [[0, 1], [0, 2]]),  # as texts, since 1 and 01 are two nodes
        (".csv", "\ufeffnew york, rio\r\nrio ,lima,3", [[0, 2], [1, 2]]),
        (".TXT", "0 1\n1 0\n", [[0, 1]]),  # both directions are one edge
        (".gml", "graph [ node [ id 3 ] node [ id 20 ] edge [ source 3 target 20 ] ]", [[0, 1]]),
        (".adjlist", "0 1 2\n1 2\n", [[0, 1], [0, 2], [1, 2]]),
    ],
)
def test_texts_edge_by_edge(tmp_path, ending, text, edges):
    path = tmp_path / f"graph{ending}"
    path.write_bytes(text.encode())
    assert parse_topology({"name": "file", "path": str(path)}).build(0).edges.tolist() == edges


def test_paths_are_seen_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "graph.txt").write_text("0 1")
    monkeypatch.chdir(tmp_path)
    assert FileOptions(path="graph.txt").nodes == 2


def record(options):
    return tomllib.loads(tomli_w.dumps(options.model_dump(mode="json", exclude_none=True)))


def test_a_record_keeps_the_path_and_knows_the_graph_again(tmp_path):
    path = tmp_path / "graph.csv"
    path.write_text("0,1\n1,2")
    options = FileOptions(path=path, weights="uniform", schedule="failing")
    recorded = record(options)
    assert recorded["path"] == str(path) and recorded["nodes"] == 3 and len(recorded["fingerprint"]) == 16
    assert parse_topology(recorded) == options
    path.write_text("# the same\n2,1\n0,1\n")
    assert parse_topology(recorded).build(0).edges.tolist() == [[0, 1], [1, 2]]
    path.write_text("0,1\n0,2")
    with pytest.raises(ValueError) as caught:
        parse_topology(recorded).build(0)
    detail = str(caught.value)
    assert detail.startswith(f"fingerprint: the graph in {str(path)!r} is another one, ")
    assert detail.endswith(f"leave this key out to take it nevertheless (got '{recorded['fingerprint']}')")
    del recorded["nodes"]
    assert finding(**recorded) == detail
    del recorded["fingerprint"]
    assert parse_topology(recorded).build(0).edges.tolist() == [[0, 1], [0, 2]]


def test_a_record_is_read_without_the_file_but_not_built(tmp_path):
    path = tmp_path / "graph.csv"
    path.write_text("0,1\n1,2")
    recorded = record(FileOptions(path=path))
    path.unlink()
    options = parse_topology(recorded)
    assert options.nodes == 3
    with pytest.raises(ValueError, match="^path: cannot be read, "):
        options.build(0)


def test_a_number_of_nodes_must_be_that_of_the_file(tmp_path):
    path = tmp_path / "graph.txt"
    path.write_text("0 1\n1 2")
    assert FileOptions(path=path, nodes=3).nodes == 3
    assert finding(path=path, nodes=8) == f"nodes: must be as many as in {str(path)!r}, 3, or unset (got 8)"
    with pytest.raises(ValueError, match=r"^nodes: must be as many as in .*, 3, or unset \(got 4\)$"):
        parse_topology(record(FileOptions(path=path)) | {"nodes": 4}).build(0)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("graph.txt", None, "path: cannot be read, No such file or directory"),
        ("graph.png", b"", "path: must end in one of .edgelist, .txt, .csv, "),
        ("graph", b"0 1", "path: must end in one of "),
        ("graph.txt", b"0 1\n2\n", "path: is not a valid .txt file, line 2 should name two nodes: '2'"),
        ("graph.csv", b"0,1\n1 2\n", "path: is not a valid .csv file, line 2 should name two nodes: '1 2'"),
        ("graph.txt", b"0" * 5000, "path: is not a valid .txt file, line 1 should name two nodes: '000"),
        ("graph.csv", b"0,\n", "path: is not a valid .csv file, line 1 should name two nodes: '0,'"),
        ("graph.txt", b"\xff\xfe\x00 \x80\n", "path: is UTF-16 text; save it as UTF-8"),
        ("graph.txt", b"", "path: the graph needs at least 2 nodes (got 0)"),
        ("graph.txt", b"0 1\n2 3", "path: the graph is not connected; there is no path from node 0 to node 2"),
        ("graph.txt", b"0 1\n1 1", "path: the graph joins node 1 to itself"),
        ("graph.csv", b"source,target\n0,1\n1,2", "path: the graph is not connected"),
        ("graph.graphml", b"<graphml", "path: is not a valid .graphml file, "),
        ("graph.graphml", b"<html></html>", "path: is not a valid .graphml file, "),
        ("graph.gml", b"graph [ node ]", "path: is not a valid .gml file, "),
        ("graph.gexf", b"<gexf></gexf>", "path: is not a valid .gexf file, "),
        ("graph.g6", b"not a graph", "path: is not a valid .g6 file, "),
        ("graph.g6", b"", "path: is not a valid .g6 file, "),
        ("graph.adjlist", b"\xff\xff", "path: is not a valid .adjlist file, "),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    detail = finding(path=path)
    assert detail.startswith(words) and detail.endswith(f"(got {str(path)!r})") and len(detail) < 350 + len(str(path))


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "graph.txt").mkdir()
    assert finding(path=tmp_path / "graph.txt").startswith("path: is not a file ")


@pytest.mark.parametrize("make, word", [(nx.DiGraph, "directed"), (nx.MultiGraph, "a multigraph")])
@pytest.mark.parametrize("ending", [".graphml", ".gml", ".gexf"])
def test_directed_graphs_and_multigraphs_are_refused(tmp_path, ending, make, word):
    path = tmp_path / f"graph{ending}"
    WRITERS[ending](make([(0, 1), (0, 1), (1, 2)]), path)
    assert finding(path=path).startswith(f"path: the graph is {word}; ")
