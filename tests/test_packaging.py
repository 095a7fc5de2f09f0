"""Contents of the package and of the repository, and messages of `make` on incomplete machines."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from flwr.common.constant import FAB_EXCLUDE_PATTERNS
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ngpd_fl", "strategies", "topologies")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Split, so that this file does not hold what it looks for.
REGISTRIES = ("pypi" + ".org", "python" + "hosted", "py" + "torch.org/whl", "ana" + "conda.org", "npm" + "js.")
INDEX_OPTIONS = ("index-" + "url", "INDEX_" + "URL", "find-" + "links", "FIND_" + "LINKS", "trusted-" + "host")
MACHINE_PATHS = ("/ro" + "ot/", "/wo" + "rk/", "/opt/" + "wheels", "/opt/" + "pypi")


def repository_files() -> list[Path]:
    """Return the files that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return sorted(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def source_files() -> set[str]:
    """Return the packages' files by their path from the root, caches left out."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*"))
    return {path.relative_to(ROOT).as_posix() for path in paths if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project's wheel, built offline from a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tree)
    for name in (*PACKAGES, "tests", "docs", "benchmarks", "scripts"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--target", "wheel"], cwd=tree, check=True)
    (built,) = (tree / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    info = f"ngpd_fl-{PROJECT['version']}.dist-info"
    assert {name.split("/")[0] for name in wheel.namelist()} == {*PACKAGES, info}
    assert {name for name in wheel.namelist() if not name.startswith(info)} == source_files()


def test_the_flower_app_bundle_holds_all_that_the_code_reads() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["fab-include"]
    bundled = {path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)}
    # Flower leaves files of some names out of every bundle; then clients run other code than the server.
    everywhere = [pattern for pattern in FAB_EXCLUDE_PATTERNS if pattern.startswith("**/")]
    left_out = (path for package in PACKAGES for pattern in everywhere for path in (ROOT / package).glob(pattern))
    bundled -= {path.relative_to(ROOT).as_posix() for path in left_out}
    # A Flower app writes no pages, whose templates are of kinds that a bundle does not take.
    unread = re.compile(r".*/py\.typed|ngpd_fl/(report/page/templates|watch/page)/.*")
    assert {name for name in source_files() - bundled if not unread.fullmatch(name)} == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_typed_and_each_folder_with_code_is_a_package(package: str) -> None:
    files = source_files()
    assert f"{package}/py.typed" in files
    folders = {name.rpartition("/")[0] for name in files if name.startswith(f"{package}/") and name.endswith(".py")}
    assert {folder for folder in folders if f"{folder}/__init__.py" not in files} == set()


def test_the_wheel_says_what_the_project_says(wheel: zipfile.ZipFile) -> None:
    info = f"ngpd_fl-{PROJECT['version']}.dist-info"
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    assert dict(entry_points["console_scripts"]) == {"ngpd-fl": "ngpd_fl.cli:main"}
    for name in ("LICENSE", "ngpd_fl/watch/page/uplot/LICENSE"):  # the project's, and that of a library inside
        assert wheel.read(f"{info}/licenses/{name}") == (ROOT / name).read_bytes()
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["Name"] == "ngpd-fl"
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])


def test_the_license_is_a_table_as_the_flower_app_bundle_wants_it() -> None:
    assert PROJECT["license"] == {"file": "LICENSE"}


def test_each_constraint_is_one_name_and_one_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    one_pin = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.]*(; [a-z_]+ (<|<=|==|!=|>=|>) \"[^\"]+\")?")
    assert [line for line in lines if not one_pin.fullmatch(line)] == []
    unconditional = [canonicalize_name(Requirement(line).name) for line in lines if ";" not in line]
    assert len(unconditional) == len(set(unconditional))


def test_each_dependency_has_a_pin_that_it_allows() -> None:
    pins = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    apart = {"aim", "trackio"}  # they take older versions of Pillow or filelock than the other packages
    extras = [texts for extra, texts in PROJECT["optional-dependencies"].items() if extra not in apart]
    requirements = [
        Requirement(text) for text in (*PROJECT["dependencies"], *(text for extra in extras for text in extra))
    ]
    named = {canonicalize_name(one.name): one.specifier for one in requirements if one.name != PROJECT["name"]}
    assert {name: str(allowed) for name, allowed in named.items() if not allowed.contains(pinned.get(name, "0"))} == {}


def test_no_file_names_a_package_registry_or_a_path_of_some_machine() -> None:
    forbidden = re.compile("|".join(map(re.escape, (*REGISTRIES, *INDEX_OPTIONS, *MACHINE_PATHS))), re.IGNORECASE)
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content:
            lines = enumerate(content.decode(errors="replace").splitlines(), start=1)
            found += [f"{path.relative_to(ROOT)}:{number}: {line}" for number, line in lines if forbidden.search(line)]
    assert found == []


def without_code(markdown: str) -> str:
    """Return the text without fenced and inline code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *(```|~~~).*?^ *\1", "", markdown, flags=re.DOTALL | re.MULTILINE))


def anchors(markdown: str) -> set[str]:
    """Return the anchors that a page's headings get where Markdown is shown."""
    text = re.sub(r"^ *(```|~~~).*?^ *\1", "", markdown, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#{1,6} +(.*?) *#*$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_in_the_documentation_lead_to_files_and_headings() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"(?:\]\(<?|\b(?:href|src)=\")([^)\s>\"]+)", without_code(page.read_text())):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target.read_text())):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def make(tmp_path: Path, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `make` in a copy of the repository's own machinery, with `path` as the only programs it finds."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", dirs_exist_ok=True)
    environment = {"PATH": path or os.environ["PATH"]}
    return subprocess.run(["make", *words], cwd=tmp_path, env=environment, capture_output=True, text=True)


def interpreter(path: Path, version: str, *, venv: bool = True) -> Path:
    """Write a stand-in for a Python of some version that makes nothing, with or without the venv module."""
    replayed = f"import sys; sys.version_info = {tuple(map(int, version.split('.')))}; exec(sys.argv.pop(1))"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""#!/bin/sh
[ "$1" != -c ] || {{ shift; exec "{sys.executable}" -c "{replayed}" "$@"; }}
exit {0 if venv else 1}
"""
    )
    path.chmod(0o755)
    return path


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@needs_make
def test_make_lists_its_commands(tmp_path: Path) -> None:
    listed = make(tmp_path)
    commands = set(re.findall(r"^  make ([a-z-]+) +\S", listed.stdout, flags=re.MULTILINE))
    wanted = {
        "help",
        "demo",
        "test",
        "test-slow",
        "test-deploy",
        "lint",
        "format",
        "types",
        "bench",
        "docs",
        "docs-serve",
        "clean",
        "venv",
    }
    assert (listed.returncode, commands) == (0, wanted)


@needs_make
@pytest.mark.parametrize(
    ("version", "venv", "said"),
    [
        ("2.7.18", True, "is 2.7.18"),
        ("3.10.13", True, "is 3.10.13"),
        ("3.14.1", True, "is 3.14.1"),
        ("3.15.0", True, "is 3.15.0"),
        ("3.12.1", False, "lacks the venv module"),
        (None, True, "none of these runs"),
    ],
)
def test_make_says_in_one_line_what_python_lacks(tmp_path: Path, version: str | None, venv: bool, said: str) -> None:
    python = tmp_path / "python"
    if version:
        interpreter(python, version, venv=venv)
    tried = make(tmp_path, "demo", f"PYTHON={python}")
    ours = [line for line in tried.stderr.splitlines() if not line.startswith("make:")]
    assert tried.returncode != 0
    assert (len(ours), said in ours[0], str(python) in ours[0]) == (1, True, True)
    assert (tried.stdout, (tmp_path / ".venv").exists()) == ("", False)


@needs_make
def test_make_passes_over_a_python_that_is_too_old(tmp_path: Path) -> None:
    interpreter(tmp_path / "bin" / "python3", "3.10.13")
    interpreter(tmp_path / "bin" / "python3.13", "3.13.0")
    tried = make(tmp_path, "demo", path=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert tried.stdout.splitlines()[0] == "Making .venv with python3.13 (3.13.0)"


@needs_make
def test_a_half_made_environment_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    python = interpreter(tmp_path / ".venv" / "bin" / "python", "3.12.1")
    (tmp_path / ".venv" / ".unfinished").touch()
    tried = make(tmp_path, "demo", f"PYTHON={interpreter(tmp_path / 'python3.12', '3.12.1')}")
    assert tried.stdout.startswith("Making .venv with ")
    assert not python.exists()


@needs_make
def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    tried = make(tmp_path, "demo", "VENV=notes", f"PYTHON={interpreter(tmp_path / 'python3.12', '3.12.1')}")
    assert "notes is there, but is no virtual environment" in tried.stderr
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["mine.txt"]
