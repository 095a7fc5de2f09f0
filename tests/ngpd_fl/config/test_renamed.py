"""Old names of keys, values and flags are answered with the new ones, wherever a configuration comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import ValidationError

from ngpd_fl.cli.app import main
from ngpd_fl.config import Config, InputError, all_fields, all_keys, translated
from ngpd_fl.config.renamed import FLAGS, KEYS, VALUES, with_names_of_0_1
from ngpd_fl.flower.run_config import read
from ngpd_fl.study import StudyPlan
from ngpd_fl.sweep.space import parse_space
from strategies import DSGDOptions
from tests.support.studies import TEXT

LINES = {
    "faults.garbage": ([{"node": 1, "kind": "nan"}], "faults.garbage: renamed to faults.corrupt"),
    "faults.lie": ([{"node": 1, "kind": "sign-flip"}], "faults.lie: renamed to faults.byzantine"),
    "partition.name": ("dirichlet-nodes", "partition.name: 'dirichlet-nodes' was renamed to 'dirichlet-uniform'"),
    "strategy.compress": (
        {"name": "quantise", "bits": 4},
        "strategy.compress.name: 'quantise' was renamed to 'quantize'",
    ),
    "strategy.wire": ("float16", "strategy.wire: renamed to strategy.message_dtype"),
    "topology.neighbours": (4, "topology.neighbours: renamed to topology.neighbors"),
    "training.mode": ("local", "training.mode: 'local' was renamed to 'neighbor-synchronous'"),
    "training.patience": (3.0, "training.patience: renamed to training.timeout_seconds"),
    "training.reference": ("fedavg", "training.reference: renamed to training.baseline"),
}
"""Key -> an old value, or any of an old key, and the line."""

every = pytest.mark.parametrize(("key", "value", "line"), [(key, *given) for key, given in LINES.items()])


def nested(key: str, value: Any) -> dict[str, Any]:
    section, name = key.split(".")
    return {section: {name: value}}


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return str(caught.value)


def test_every_rename_is_tried_and_leads_to_what_there_is() -> None:
    known, tried = set(all_keys()), {line.partition(":")[0] for _, line in LINES.values()}
    values = {key: names for key, names in VALUES.items() if key != "role"}
    assert tried == KEYS.keys() | values.keys()
    assert known.isdisjoint(KEYS) and known.issuperset(KEYS.values()) and known.issuperset(values)
    for key, names in values.items():
        allowed = " ".join(str(field.annotation) for field in all_fields()[key])
        assert all(repr(new) in allowed and repr(old) not in allowed for old, new in names.items())


@every
def test_in_a_file_python_and_flower(key: str, value: Any, line: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(tomli_w.dumps(nested(key, value)))
    assert refusal(Config.load, path) == line
    assert refusal(lambda: Config(**nested(key, value))) == line
    assert refusal(Config.load, None, {key: value}) == line
    flat = value if isinstance(value, str | int | float) else tomli_w.dumps({"v": value}).partition("=")[2]
    if not isinstance(value, dict):
        assert refusal(read, {key: " ".join(flat.split()) if isinstance(flat, str) else flat}) == line


@every
def test_on_the_command_line(
    key: str, value: Any, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if isinstance(value, dict):
        key, value = f"{key}.name", value["name"]
    text = value if isinstance(value, str) else tomli_w.dumps({"v": value}).partition("=")[2]
    assert main(["run", "--set", f"{key}={' '.join(str(text).split())}", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"ngpd-fl: error: {line}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("old", "new"), FLAGS.items())
def test_flags(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peer", "run.toml", "--peers", "peers.toml", "--out", "out", old, "3"]) == 2
    assert capsys.readouterr().err == f"ngpd-fl: error: {old}: renamed to {new}\n"
    command = ["run"] if old == "--tensorboard" else ["peer", "run.toml", "--peers", "peers.toml"]
    assert main([*command, "--out", "out", new.split()[0], "-1"]) == 2
    assert "-1" in capsys.readouterr().err  # it is known


@every
def test_in_a_sweep(key: str, value: Any, line: str) -> None:
    assert refusal(parse_space, {key: [value]}, {}, "sweep.keys") == f"sweep.keys.{line}"


@every
@pytest.mark.parametrize("part", ["fixed", "cells.ring", "search"])
def test_in_a_study(key: str, value: Any, line: str, part: str, tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "title": "",
        "tuning": {"trials": 1},
        "final": {"seeds": [1]},
        "axes": {"graph": {"ring": {}}},
    }
    strategy: dict[str, Any] = {"fixed": {"strategy.name": "dsgd"}, "cells": {"ring": {}}, "search": {}}
    place = strategy
    for name in part.split("."):
        place = place[name]
    place[key] = [value] if part == "search" else value
    path = tmp_path / "study.toml"
    path.write_text(tomli_w.dumps({**content, "strategies": {"a": strategy}}))
    assert refusal(StudyPlan.parse, path).endswith(line)


def test_the_role_in_a_study(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(TEXT.replace('role = "baseline"', 'role = "reference"'))
    assert refusal(StudyPlan.parse, path) == "strategies.gossip.role: 'reference' was renamed to 'baseline'"


def test_several_are_answered_in_one_line() -> None:
    assert refusal(lambda: Config(training={"mode": "local", "patience": 1.0})) == (
        "training.mode: 'local' was renamed to 'neighbor-synchronous'; "
        "training.patience: renamed to training.timeout_seconds"
    )


def test_values_of_other_keys_and_labels_stay_as_they_are() -> None:
    values = {"devices": {"mix": {"reference": 1.0}}, "data": {"dataset": "local"}, "lie": {"patience": 1}}
    assert translated(values) == values


@every
def test_a_recorded_configuration_is_read_and_keeps_its_old_form(key: str, value: Any, line: str) -> None:
    section, name = key.split(".")
    old: dict[str, Any] = {
        "topology": {"name": "watts-strogatz", "nodes": 12},
        "strategy": {"name": "dsgd"},
        "training": {} if "reference" in key else {"mode": "local"},
    }
    old.setdefault(section, {})[name] = value
    if "compress" in key:
        old["training"] = {}
    values = Config(**translated(old)).model_dump(mode="json", exclude_none=True)
    assert translated(with_names_of_0_1(values)) == values
    assert (name in with_names_of_0_1(values)[section]) and (name in values[section]) == (key not in KEYS)


def test_options_built_in_python_say_the_new_name() -> None:
    with pytest.raises(ValidationError, match="wire: renamed to message_dtype"):
        DSGDOptions(wire="float16")  # type: ignore[call-arg]
