"""Extras: the core runs without their packages, and what needs one says so in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ngpd_fl.config.extras import MODULES, TRACKERS
from tests.support.core_environment import PROJECT, closure, link_core, python

EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"all", "dev", "docs", "test"}


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the core's packages alone."""
    return link_core(tmp_path_factory.mktemp("core") / "packages")


def test_each_extra_brings_the_modules_that_are_asked_for() -> None:
    assert set(MODULES) == set(EXTRAS) - FOR_DEVELOPERS
    packages = packages_distributions()
    for extra, modules in MODULES.items():
        if not any(module in packages for module in modules):  # some trackers are not installed for the tests
            continue
        brought = set(closure(requirements_of(extra)))
        for module in modules:
            assert brought & {*map(canonicalize_name, packages[module])}, f"{extra} does not bring {module}"


def requirements_of(extra: str) -> Iterator[str]:
    """Yield the requirements of an extra, and of the extras that it includes."""
    for text in EXTRAS[extra]:
        requirement = Requirement(text)
        if requirement.name != PROJECT["name"]:
            yield text
        for included in requirement.extras if requirement.name == PROJECT["name"] else ():
            yield from requirements_of(included)


def test_all_is_every_extra_but_the_trackers() -> None:
    (everything,) = EXTRAS["all"]
    assert Requirement(everything).extras == set(MODULES) - set(TRACKERS)


IMPORTS = """
import importlib, json, sys
problems = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        problems[name] = f"{type(error).__name__}: {error}"
print(json.dumps(problems))
"""


def test_every_module_can_be_imported_or_names_the_extra_that_it_needs(core: Path, tmp_path: Path) -> None:
    from tests.test_architecture import MODULES as OURS

    done = python(core, "-c", IMPORTS, *(name for name in OURS if not name.endswith("__main__")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    problems: dict[str, str] = json.loads(done.stdout)
    # Processes of Flower's own, and a file of sweeps and studies.
    behind = ("ngpd_fl.flower.client", "ngpd_fl.flower.server", "ngpd_fl.flower.messages", "ngpd_fl.records.rows")
    parts = {
        ("ngpd_fl.report.page", "ngpd_fl.report.pictures", "ngpd_fl.report.notebook"): "report",
        ("ngpd_fl.sweep", "ngpd_fl.study"): "study",
        ("ngpd_fl.watch",): "watch",
        ("ngpd_fl.flower.launcher", "ngpd_fl.deploy.services", "ngpd_fl.deploy.warm_start"): "flower",
    }
    for name, problem in problems.items():
        if name.startswith(behind):
            continue
        extra = next((extra for rooms, extra in parts.items() if name.startswith(rooms)), None)
        assert extra is not None, f"{name}: {problem}"
        assert problem.startswith("InputError: ") and problem.endswith(f'pip install "ngpd-fl[{extra}]"'), problem
    assert {"ngpd_fl.report.page", "ngpd_fl.watch", "ngpd_fl.sweep", "ngpd_fl.study", "ngpd_fl.flower.launcher"} <= set(
        problems
    )


NEEDS = [
    ("report runs", "a report's page", "matplotlib", "report"),
    ("topology", "pictures", "matplotlib", "report"),
    ("partition", "pictures", "matplotlib", "report"),
    ("show run --plots", "pictures", "matplotlib", "report"),
    ("watch .", "a live page", "starlette", "watch"),
    ("study study.toml --out out", "studies", "optuna", "study"),
    ("sweep study.toml --out out", "sweeps", "optuna", "study"),
    *((f"run --track {name} --out out", f"track: {name}", name, name) for name in TRACKERS),
    ("run --partition dirichlet --out out", "partition.name: dirichlet", "flwr_datasets", "datasets"),
    ("run --dataset hf:news --data-dir . --out out", "data.dataset: hf:news", "flwr_datasets", "datasets"),
    ("flower run --out out", "flower run", "flwr", "flower"),
    ("deploy superlink link", "Flower", "flwr", "flower"),
    ("deploy supernode node0 --superlink 127.0.0.1:9092", "Flower", "flwr", "flower"),
    ("deploy run link", "Flower", "flwr", "flower"),
]
"""Commands, what needs an extra, the first missing module, the extra."""

COMMANDS = """
import contextlib, io, json, sys
from ngpd_fl.cli import main
said = []
for words in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(words.split())
    said.append([words, code, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


def test_a_command_that_needs_an_extra_says_so_in_one_line(core: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("[strategies.ngpd]")
    done = python(core, "-c", COMMANDS, *(words for words, *_ in NEEDS), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = 'ngpd-fl: error: {}: {} is not installed; pip install "ngpd-fl[{}]"\n'
    assert json.loads(done.stdout) == [[words, 2, "", line.format(*rest)] for words, *rest in NEEDS]
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_executors_that_need_an_extra_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from ngpd_fl.config import InputError
    from ngpd_fl.sweep.executors import make_executor

    monkeypatch.setattr("ngpd_fl.config.extras.find_spec", lambda name: None)
    for name, module in {"ray": "ray", "slurm": "submitit"}.items():
        line = rf'--executor {name}: {module} is not installed; pip install "ngpd-fl\[{name}\]"'
        with pytest.raises(InputError, match=f"^{line}$"):
            make_executor(name, {}).__enter__()


def test_the_core_trains_compares_and_shows(core: Path, tmp_path: Path) -> None:
    hint = 'ngpd-fl: warning: no pictures are drawn: matplotlib is not installed; pip install "ngpd-fl[report]"'
    short = ("--nodes", "4", "--rounds", "2", "--local-steps", "1")
    compare = ("compare", "--strategies", "ngpd,dsgd", *short, "--out", "out")
    done = python(core, "-m", "ngpd_fl", *compare, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("ngpd-fl:")] == [hint]
    assert not list(tmp_path.rglob("*.png"))
    shown = python(core, "-m", "ngpd_fl", "show", "out", cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, done.stdout, "")
