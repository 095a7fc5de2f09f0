"""The wheel and the sdist: the same bytes from the same sources, small, and all that a user without git needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.core_environment import PROJECT, ROOT, link_core
from tests.test_packaging import repository_files

Built = dict[str, Path]


def build(tree: Path, umask: int, when: float) -> Built:
    """The wheel and the sdist of a copy of the repository, whose files are of a time and have modes of their own."""
    before = os.umask(umask)
    try:
        for path in repository_files():
            copy = tree / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            os.utime(copy, (when, when))
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run([sys.executable, "-m", "hatchling", "build"], cwd=tree, env=environment, check=True)
    finally:
        os.umask(before)
    return {path.suffix: path for path in (tree / "dist").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The files of a release by their ends, ``.whl`` and ``.gz``."""
    return build(tmp_path_factory.mktemp("release") / "tree", 0o022, 1.6e9)


def test_two_builds_give_the_same_bytes(built: Built, tmp_path: Path) -> None:
    again = build(tmp_path / "elsewhere", 0o077, 1.7e9)
    digests = [
        {end: hashlib.sha256(path.read_bytes()).hexdigest() for end, path in files.items()} for files in (built, again)
    ]
    assert set(digests[0]) == {".whl", ".gz"}
    assert digests[0] == digests[1]


def test_they_are_small(built: Built) -> None:
    """0.75 and 2.8 MB in November 2026: a data set or a picture that slips in breaks this."""
    assert 500_000 < built[".whl"].stat().st_size < 1_000_000
    assert built[".gz"].stat().st_size < 3_000_000


def test_the_version_stands_in_one_place() -> None:
    kinds = (".py", ".toml", ".sh", ".yaml", ".cff", ".service", "Dockerfile", "Makefile")
    said = [
        path.relative_to(ROOT).as_posix()
        for path in repository_files()
        if path.name.endswith(kinds) and f'"{PROJECT["version"]}"' in path.read_text(encoding="utf-8")
    ]
    assert said == ["pyproject.toml"]


@pytest.mark.slow
def test_an_installed_wheel_works_without_git_and_make(built: Built, tmp_path: Path) -> None:
    """pip installs it without a download, since the core's packages, and no others, are there."""
    packages = link_core(tmp_path / "packages")
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    # Up to Python 3.11 an environment comes with an old setuptools, which torch does not take.
    subprocess.run([home / "bin" / "pip", "uninstall", "--quiet", "--yes", "setuptools"], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "core.pth").write_text(f"{packages}\n")
    environment = {"PATH": str(home / "bin"), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def do(*words: str | Path, cwd: Path = tmp_path) -> str:
        done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    do(home / "bin" / "pip", "install", "--no-index", "--quiet", built[".whl"])
    ngpd_fl = home / "bin" / "ngpd-fl"
    assert do(ngpd_fl, "--version") == f"ngpd-fl {PROJECT['version']}\n"
    assert do(ngpd_fl, "demo").rstrip().endswith("records in runs/demo-1")
    assert "ngpd" in do(home / "bin" / "python", "-m", "ngpd_fl", "show", "runs/demo-1")
    assert "All is well." in do(ngpd_fl, "doctor")
    do(ngpd_fl, "new", "mine")
    do(ngpd_fl, "run", "--config", "config.toml", "--rounds", "1", "--quiet", cwd=tmp_path / "mine")
