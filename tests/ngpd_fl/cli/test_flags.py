"""Flags are made from the configuration's fields, and the shell completes them."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from ngpd_fl.cli.app import app
from ngpd_fl.cli.flags import ConfigFlags, fields_with_flags
from ngpd_fl.config import Config, all_fields
from ngpd_fl.config.sections import DATASETS, MODELS
from strategies import STRATEGIES
from topologies import TOPOLOGIES

ROOT = Path(__file__).parents[3]
FLAGS = {key: flag for key, flag, _ in fields_with_flags() if not key.startswith("flower.")}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def options(command: Any) -> dict[str, Any]:
    return {parameter.opts[0]: parameter for parameter in command.params}


def test_every_field_that_says_so_has_its_flag() -> None:
    marked = {
        key
        for key, definitions in all_fields().items()
        for field in definitions
        if isinstance(field.json_schema_extra, Mapping) and "flag" in field.json_schema_extra
    }
    assert marked | {"strategy.name", "topology.name", "partition.name"} == set(FLAGS)
    assert set(FLAGS.values()) <= set(options(COMMANDS["run"]))


@pytest.mark.parametrize("key", FLAGS)
def test_a_flag_tells_the_default_of_its_key(key: str) -> None:
    value: Any = Config()
    for part in key.split("."):
        value = getattr(value, part)
    help = options(COMMANDS["run"])[FLAGS[key]].help
    assert help.partition("; default: ")[2] == ("" if value is None else str(value))


@pytest.mark.parametrize(
    ("command", "left_out"),
    [
        ("run", set()),
        ("estimate", set()),
        ("compare", {"--strategy"}),
        ("topology", set(FLAGS.values()) - {"--topology", "--nodes", "--seed"}),
    ],
)
def test_commands_offer_what_they_take(command: str, left_out: set[str]) -> None:
    assert set(FLAGS.values()) - set(options(COMMANDS[command])) == left_out


def test_no_command_repeats_a_flag() -> None:
    """A command's own function has few parameters; what the configuration has comes from there."""
    for source in (ROOT / "ngpd_fl" / "cli").glob("*.py"):
        text = source.read_text(encoding="utf-8")
        for flag in {"--local-steps", "--batch-size", "--until-accuracy", "--nodes-per-client"}:
            assert f'"{flag}"' not in text and f" {flag[2:].replace('-', '_')}: " not in text, source.name
    for name in set(COMMANDS) - {"peer"}:  # whose flags are mostly its own
        function = inspect.unwrap(COMMANDS[name].callback)
        assert len(inspect.signature(function).parameters) <= 11, name


def test_flags_and_assignments_set_keys() -> None:
    given = ConfigFlags.of(
        {"nodes": 4, "lr": None, "data_plane": "direct", "assignments": ["strategy.lr=0.5"], "config": None}
    )
    assert given.overrides() == {"topology.nodes": 4, "strategy.lr": 0.5}
    assert given.flower == {"data_plane": "direct"}
    assert given.load().topology.nodes == 4


COMPLETED = {
    "ngpd-fl to": ["topology"],
    "ngpd-fl run --strat": ["--strategy"],
    "ngpd-fl run --strategy ng": ["ngpd", "ngpd-tracking"],
    "ngpd-fl run --strategy ": list(STRATEGIES),
    "ngpd-fl topology --topology ": list(TOPOLOGIES),
    "ngpd-fl run --dataset ": list(DATASETS),
    "ngpd-fl estimate --model res": [name for name in MODELS if name.startswith("res")],
    "ngpd-fl partition --partition dirichlet-": ["dirichlet-prior", "dirichlet-uniform"],
    "ngpd-fl compare --strategies ngpd,ds": ["ngpd,dsgd"],
    "ngpd-fl flower run --data-plane ": ["relay", "direct"],
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_what_can_be_typed(tmp_path: Path) -> None:
    """The script that `_NGPD_FL_COMPLETE=source_bash ngpd-fl` prints, in a real bash."""
    command = tmp_path / "ngpd-fl"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ngpd_fl "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    lines = ["#!/bin/bash", f"cd {tmp_path}", 'eval "$(_NGPD_FL_COMPLETE=source_bash ngpd-fl)"']
    for typed in COMPLETED:
        words = typed.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        lines += [f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=()"]
        lines += ["_ngpd_fl_completion ngpd-fl", 'IFS=" "; echo "${COMPREPLY[*]}"; unset IFS']
    script = tmp_path / "complete.sh"
    script.write_text("\n".join(lines), encoding="utf-8")
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", str(script)], env=os.environ | path, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    assert dict(zip(COMPLETED, map(str.split, done.stdout.splitlines()), strict=True)) == COMPLETED
