"""Text files and values as they are read everywhere: bounded, strict, in UTF-8, and refused in one line."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest

from ngpd_fl.cli import main
from ngpd_fl.clock import Replay
from ngpd_fl.config import (
    Config,
    InputError,
    build_topology,
    expanded,
    parse_assignments,
    parse_json,
    parse_toml,
    read_json,
    read_json_lines,
    read_record,
    read_toml,
)
from ngpd_fl.devices import read_table
from ngpd_fl.flower.run_config import FlowerConfig, read, write
from ngpd_fl.records.files import read_tensors
from ngpd_fl.records.shapes import Summary

BOM = b"\xef\xbb\xbf"
ODD = ('{"\\ud800": 1}', '"\\u0000"')
DEEP, LONG = "[" * 500 + "]" * 500, "9" * 5000


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        "[" * 100_000,
        LONG,
        "-" + LONG,
        str(2**64),
        "NaN",
        "-Infinity",
        "1e999",
        '"\\ud800"',
        '{"\\ud800": 1}',
        '"\\u0000"',
    ],
)
def test_json_that_nobody_can_work_with(text: str, tmp_path: Path) -> None:
    for wrapped in (text, f'{{"a": {text}}}', f"[{text}, 1]"):
        with pytest.raises(ValueError):
            parse_json(wrapped)
        (tmp_path / "file.json").write_text(wrapped)
        with pytest.raises(InputError, match="file.json: damaged"):
            read_json(tmp_path / "file.json")
        (tmp_path / "lines").write_text(f"1\n{wrapped}\n")
        with pytest.raises(InputError, match="lines: line 2 is damaged"):
            list(read_json_lines(tmp_path / "lines"))


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        "[" * 100_000,
        LONG,
        "0x" + "f" * 5000,
        str(2**64),
        "{a=" * 100 + "1" + "}" * 100,
        '"\\u0000"',
        '{"\\u0000" = 1}',
    ],
)
def test_toml_that_nobody_can_work_with(text: str, tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_text(f"a = {text}")
    with pytest.raises(InputError, match="file.toml: not valid TOML"):
        read_toml(tmp_path / "file.toml")
    if text != "[" * 100_000:  # as long as that no system lets it pass
        assert main(["run", "--set", f"strategy.lr={text}"]) == 2


def test_the_longest_numbers_and_the_deepest_values_that_are_read() -> None:
    assert parse_json(str(2**64 - 1)) == 2**64 - 1 and parse_toml(f"a = {-(2**63)}") == {"a": -(2**63)}
    parse_json("[" * 63 + "1" + "]" * 63)
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        parse_json("[" * 64 + "1" + "]" * 64)
    assert parse_json("[Infinity, 1e999]", strict=False)[0] == float("inf")


def test_a_key_of_very_many_parts_takes_no_time() -> None:
    began = time.process_time()
    for key in ("a." * 30_000 + "b", "'a'." * 30_000 + "b"):
        with pytest.raises(ValueError, match="more than 64 parts"):
            parse_toml(f"x = [0.1, 0.2]\n{key} = 1")
    for before, after in (
        (r'"\"".', ' # "'),
        ('# """\n', '\n# """'),
        ('x = {a = """ " """, ', ', c = "x"}'),
        ("x = {a = ''' ' ''', ", ", c = 'x'}"),
    ):
        with pytest.raises(ValueError, match="more than 64 parts"):  # whatever quotes stand around it
            parse_toml(f"{before}{'a.' * 30_000}b = 1{after}")
    for text in ('"""\n\\' * 200_000, '"' * 300_001, 'x = "' + r"\"" * 200_000, "'" * 300_001):
        with pytest.raises(ValueError):
            parse_toml(text)
    assert time.process_time() - began < 20
    floats = ", ".join(["0.5"] * 500)
    assert parse_toml(f'a = [{floats}]\nb = "{"." * 500}"')["a"] == [0.5] * 500


@pytest.mark.parametrize("text", ["1\nseed=2", "abc\nseed=2", "1\n[data]\nbatch_size = 3"])
def test_a_second_line_is_not_dropped(text: str) -> None:
    with pytest.raises(InputError, match="--set strategy.lr: "):
        parse_assignments([f"strategy.lr={text}"])
    assert parse_assignments(["model.hidden=[1,\n2]"]) == {"model.hidden": [1, 2]}


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--model", "m" * 5000],
        ["run", "--set", "k" * 5000 + "=1"],
        ["run", "--set", "strategy.lr=" + "v " * 5000],
        ["run", "--" + "f" * 5000],
        ["run", "--config", "c" * 5000],
        ["show", "d" * 5000],
        ["run", "--set", "a." * 500 + "b=1"],
        ["run", "--strategy", "\x1b[2J\x07"],
    ],
)
def test_whatever_is_quoted_the_message_is_one_line_that_can_be_shown(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.strip().isprintable() and len(said) < 1600


def test_what_is_cut_keeps_both_ends() -> None:
    with pytest.raises(InputError) as caught:
        Config(model="m" * 5000)
    assert str(caught.value).startswith("model.name: 'mmm") and str(caught.value).endswith("package.module:factory")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_named(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes("seed = 1\n".encode(encoding))
    with pytest.raises(InputError, match="UTF-(16|32).* save it as UTF-8"):
        Config.load(path)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    def file(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(BOM + text.encode())
        return tmp_path / name

    assert Config.load(file("c.toml", "seed = 5\r\n")).seed == 5
    for name, text in (("b.toml", "[b]\nstep_factor = 2\nsource = 'x'"), ("b.csv", "name,step_factor,source\nb,2,x\n")):
        assert read_table(file(name, text)).keys() == {"b"}
    for name, text in (("g.txt", "0 1\n1 2\n"), ("g.csv", "0,1\n1,2\n"), ("g.adjlist", "0 1\n1 2\n")):
        topology = Config(topology={"name": "file", "path": file(name, text)}).topology
        assert topology.nodes == 3
    nx.write_gml(nx.path_graph(3), tmp_path / "plain.gml")
    assert (
        Config(topology={"name": "file", "path": file("g.gml", (tmp_path / "plain.gml").read_text())}).topology.nodes
        == 3
    )


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "graph.txt").write_text("0 1\n1 2\n")
    (tmp_path / "board.toml").write_text("[b]\nstep_factor = 2\nsource = 'x'")
    (tmp_path / "events.jsonl").write_text('{"event": "round"}\n')
    config = Config(topology={"name": "file", "path": "~/graph.txt"})
    assert str(config.topology.path) == "~/graph.txt"  # type: ignore[attr-defined]  # peers have homes of their own
    assert build_topology(config).num_nodes == 3
    assert read_table(Path("~/board.toml")).keys() == {"b"}
    assert not Replay(Path("~/events.jsonl"), 2, 1).is_over
    for key in ("model.init", "devices.table", "devices.replay", "data.data_dir"):
        given = Config.load(overrides={key: "~/x"})
        flat = write(given, FlowerConfig(state_dir="~/state"))
        assert flat[key] == str(tmp_path / "x") and flat["state-dir"] == str(tmp_path / "state")
    assert expanded(Path("~nobody-of-that-name/x")) == Path("~nobody-of-that-name/x")


def test_values_through_flower_are_read_alike() -> None:
    assert read({"model.hidden": "64,32"})[0].model.hidden == (64, 32)
    for text in (LONG, DEEP):
        with pytest.raises(InputError, match="^model.hidden: "):
            read({"model.hidden": text})


@pytest.mark.parametrize(
    "read_file",
    [read_json, lambda path: read_record(path, Summary), lambda path: list(read_json_lines(path)), read_tensors],
)
def test_what_could_be_read_for_ever_is_refused(read_file: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device", "."):
        with pytest.raises(InputError, match="is not a file"):
            read_file(tmp_path / name)
    with pytest.raises(ValueError, match="path: is not a file"):
        (tmp_path / "graph.txt").symlink_to("/dev/zero")
        Config(topology={"name": "file", "path": tmp_path / "graph.txt"})


def test_a_file_or_a_line_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is read of it than what shows that."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    monkeypatch.setattr("ngpd_fl.config.text_files.LARGEST", 1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="is larger than 1 MiB"):
            read_json(path)
        with pytest.raises(InputError, match="line 1 is longer than 1 MiB"):
            list(read_json_lines(path))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
