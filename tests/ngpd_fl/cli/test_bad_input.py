"""Bad input: one line on stderr, exit code 2, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.cli import main
from tests.ngpd_fl.config.bad import IMPOSSIBLE, INVALID, Bad


def as_set(overrides: dict[str, Any]) -> list[str]:
    """The same by ``--set``."""
    return [f"--set={key}={as_toml(value)}" for key, value in overrides.items()]


def as_toml(value: Any) -> str:
    """The value in a line; JSON's are TOML's, but for tables and nan."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {as_toml(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_toml(each) for each in value)}]"
    return json.dumps(value).replace("NaN", "nan")


@pytest.mark.parametrize("bad", INVALID + IMPOSSIBLE, ids=lambda bad: ",".join(bad.overrides))
def test_configurations(bad: Bad, cli: Callable[..., Any], here: Path) -> None:
    said = cli("run", *as_set(bad.overrides))
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith(f"ngpd-fl: error: {bad.error}")
    assert said.err.count("\n") == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("train", "No such command 'train'"),
        ("topolgy", "error: No such command 'topolgy'. Did you mean 'topology'?\n"),
        ("deploy kyes", "error: No such command 'kyes'. Did you mean 'keys'?\n"),
        ("run --stratgy ngpd", "No such option '--stratgy'. (Did you mean one of: '--strategy', '--track'?)"),
        (
            "compare --strategies dsgd,ecl --set dgsd.lr=1",
            "--set dgsd.lr: 'dgsd' is neither a section nor one of dsgd, ecl; did you mean 'dsgd'?",
        ),
        ("report . --out a/b.html", "out: there is no folder a; make it first, or name another file"),
        ("topology --out a/b.png", "out: there is no folder a; make it first, or name another file"),
        ("run --foo", "No such option"),
        ("run extra", "unexpected extra argument"),
        ("run --nodes x", "Invalid value for '--nodes': 'x' is not a valid integer"),
        ("run --rounds", "requires an argument"),
        ("run --nodes 1", "topology.nodes: input should be greater than or equal to 2 (got 1)"),
        ("run --rounds 0", "training.rounds: input should be greater"),
        ("run --strategy sgd", "strategy.name: 'sgd' is not known; did you mean 'dsgd'? allowed: ngpd"),
        ("run --topology cube", "topology.name: 'cube' is not known; allowed: ring"),
        ("run --partition x", "partition.name: 'x' is not known; allowed: iid"),
        ("run --model x", "model.name: 'x' is not known; allowed: softmax"),
        ("run --dataset x", "data.dataset: 'x' is not known; allowed: digits, diabetes, mnist"),
        ("run --device gpu", "engine.device: 'gpu' is not known; allowed: auto, cpu, cuda, cuda:N, or several"),
        ("run --lr inf", "strategy.lr: input should be a finite number (got inf)"),
        ("run --lr -1", "strategy.lr: input should be greater than 0 (got -1.0)"),
        ("run --dataset mnist", "data.data_dir: mnist needs the folder that holds it (--data-dir)"),
        ("run --config nowhere.toml", "config file nowhere.toml: cannot be read (No such file or directory)"),
        ("run --config .", "config file .: cannot be read (Is a directory)"),
        ("run --set lr", "--set lr: expected key=value, e.g. strategy.lr=0.05"),
        ("run --set lr=0.1", "lr: unknown key"),
        ("run --set strategy.momentum=0.9", "strategy.momentum: unknown key"),
        ("compare", "Missing option '--strategies'"),
        ("compare --strategies ngpd,x", "strategy.name: 'x' is not known"),
        ("compare --strategies ngpd,", "--strategies ngpd,: a name is empty; allowed: ngpd"),
        ("compare --strategies ngpd,ngpd", "--strategies ngpd,ngpd: a name stands twice"),
        ("compare --strategies ngpd,,", "--strategies ngpd,,: a name is empty; allowed: ngpd, ngpd-tracking, ecl"),
        (
            "compare --strategies ngpd --set ecl.lr=1",
            "--set ecl.lr: should be one of ngpd, a dot and a key, e.g. ngpd.lr",
        ),
        ("compare --strategies ngpd --set ngpd=1", "--set ngpd: should be one of ngpd"),
        ("compare --strategies ngpd --set ngpd.seed=1", "strategy.seed: unknown key"),
        ("compare --strategies ngpd --set strategy=ecl", "--set strategy: --strategies names the algorithms"),
        ("compare --strategies ngpd --set ngpd.name=ecl", "--set ngpd.name: --strategies names the algorithms"),
        (f"compare --strategies ngpd --name {'a' * 256}", f"out: runs/{'a' * 256} cannot be made (File name too long)"),
        ("compare --strategies ngpd --name a/b", "--name a/b: should be a plain name"),
        ("compare --strategies ngpd --name a\x1b[31mb", "--name a\\x1b[31mb: should be a plain name"),
        ("compare --strategies ngpd --name a --out b", "--name: --out says already where the records go"),
        ("compare --strategies dsgd,ngpd --set ngpd.lr=-1", "strategy.lr: input should be greater than 0 (got -1)"),
        ("topology --topology torus --set topology.rows=3", "topology.rows: must divide nodes = 8"),
        ("topology --out graph.txt", "out: graph.txt is no picture; its name may end in .png, .pdf, .svg"),
        ("partition --nodes 2000", "topology.nodes: 2000 nodes but only 1298 training examples"),
        ("partition --out split", "out: split is no picture"),
        (f"study nowhere.toml --out out --for {9 * '9'}9h", "--for 9999999999h: should be a time such as 55m"),
        (f"study nowhere.toml --out out --for {400 * '9'}s", "should be a time such as 55m, 90s or 1h30m"),
        ("show", "Missing argument 'DIR'"),
        ("show nowhere", "nowhere: cannot be read (No such file or directory)"),
        ("show .", ".: neither a run's folder (with config.toml and environment.json) nor one of runs"),
    ],
)
def test_words(words: str, error: str, cli: Callable[..., Any], here: Path) -> None:
    said = cli(*words.split())
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("ngpd-fl: error: ")
    assert error in said.err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "compare --strategies dsgd"])
def test_places_where_nothing_can_be_written(command: str, cli: Callable[..., Any], here: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "mine.txt").write_text("mine")
    (here / "file").write_text("mine")
    for out, error in (
        ("full", "out: full is not empty; nothing recorded is overwritten"),
        ("file", "out: file cannot be made (Not a directory)"),
        ("file/run", "out: file/run cannot be made (Not a directory)"),
    ):
        said = cli(*command.split(), "--rounds", "1", "--out", out)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert error in said.err
    assert sorted(path.name for path in here.rglob("*")) == ["file", "full", "mine.txt"]


def test_pictures_are_not_overwritten(cli: Callable[..., Any], here: Path) -> None:
    (here / "graph.png").write_text("mine")
    said = cli("topology", "--out", "graph.png")
    assert (said.code, said.err) == (
        2,
        "ngpd-fl: error: out: graph.png is there already; nothing is overwritten, name another file\n",
    )
    assert (here / "graph.png").read_text() == "mine"


def test_a_picture_below_a_file(cli: Callable[..., Any], here: Path) -> None:
    (here / "file").write_text("mine")
    said = cli("topology", "--out", "file/graph.png")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "out: file is not a folder; make it first, or name another file" in said.err


@pytest.mark.parametrize("where", ["model.name", "model.loss", "data.dataset"])
@pytest.mark.parametrize("at_import", [True, False])
def test_code_that_ends_the_process_is_an_error(
    where: str, at_import: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"script_{where.replace('.', '_')}_{at_import}"
    ends = "sys.exit()" if at_import else "pass"
    (tmp_path / f"{name}.py").write_text(f"import sys\n{ends}\ndef make(*_):\n    sys.exit('done')\n")
    assert main(["run", "--rounds", "1", "--quiet", "--set", f"{where}={name}:make"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and where in said and "SystemExit" in said
