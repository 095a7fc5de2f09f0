"""Commands import the heavy packages that they need, and no others; Ctrl-C while they do says nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.startup import rows

IMPORTS = {
    ("--help",): [],
    ("run", "--help"): [],
    ("deploy", "run", "--help"): [],
    ("peer", "--help"): [],
    ("keys",): [],
    ("topology", "--out", "OUT.png"): ["matplotlib"],
    ("partition", "--out", "OUT.png"): ["torch", "matplotlib"],
}


def test_commands_import_only_what_they_need() -> None:
    imports = {command: imported for command, _, imported in rows(tuple(IMPORTS), repeats=1)}
    assert imports == {" ".join(words): imported for words, imported in IMPORTS.items()}


@pytest.mark.slow
def test_records_need_no_more() -> None:
    assert [imported for _, _, imported in rows([("show", "RUN")], repeats=1)] == [[]]


@pytest.mark.parametrize(
    ("code", "modules", "seconds"),
    [
        ("import ngpd_fl", 80, 0.1),
        ("import ngpd_fl.cli.app", 400, 0.6),
        ("from ngpd_fl.cli import main; main(['--help'])", 520, 1.2),
    ],
)
def test_imports_are_quick(code: str, modules: int, seconds: float) -> None:
    """Measured: 63 modules in 0.01 s, 317 in 0.14 s, 476 in 0.23 s. torch alone has 1,247, in 1.4 s."""
    program = f"import json, sys, time\n{code}\nprint(json.dumps([len(sys.modules), time.process_time()]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found, took = json.loads(done.stdout.splitlines()[-1])
    assert found < modules
    assert took < seconds


def test_an_interrupt_while_the_modules_load_shows_no_traceback() -> None:
    program = """
import sys
class Interrupted:
    def find_spec(self, name, *rest):
        if name == "ngpd_fl.cli.flags":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from ngpd_fl.cli import main
sys.exit(main(["keys"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (130, "")
