"""What is shipped for services: the units of systemd and the Dockerfile."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.deployment import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    """With a program that is there in place of the installed one."""
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_units_call_what_the_command_line_knows(unit: Path) -> None:
    import typer

    from ngpd_fl.cli.app import app

    words = shlex.split(re.findall(r"^ExecStart=(.*)", unit.read_text(), re.MULTILINE)[0])[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(unit.stem, words)


def test_the_dockerfile_copies_what_the_wheel_is_made_of_as_its_own_user() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    steps = re.findall(r"^([A-Z]+) (.*)", text, re.MULTILINE)
    copied = {word for name, rest in steps if name == "COPY" for word in rest.split()[:-1]}
    assert copied == {
        "constraints.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "ngpd_fl",
        "strategies",
        "topologies",
    }
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert [rest for name, rest in steps if name == "USER"] == ["10001"]
