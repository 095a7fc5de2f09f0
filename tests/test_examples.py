"""The notebooks of examples/ are in step with their sources, run as they stand, and say little."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FAST = "own_objects"
"""The example that the fast tests run."""

SECONDS = 60


def cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_there_are_five_and_each_is_a_pair() -> None:
    assert len(EXAMPLES) >= 5
    assert {path.stem for path in EXAMPLES} == {path.stem for path in (ROOT / "examples").glob("*.ipynb")}


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda path: path.stem)
def test_a_notebook_is_its_source_without_outputs(source: Path) -> None:
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(notebook)
    assert cells(notebook) == cells(jupytext.read(source)), "run `jupytext --sync examples/*.py`"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda path: path.stem)
def test_the_first_cell_with_code_installs_in_colab_alone(source: Path) -> None:
    code = next(text for kind, text in cells(jupytext.read(source)) if kind == "code")
    assert '"google.colab" in sys.modules' in code and '"pip", "install", "--quiet", "ngpd-fl[report]"' in code


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda path: path.stem)
def test_pages_and_notebooks_that_it_names_exist(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    named = re.findall(r"`(docs/[\w/-]+\.md)`", text)
    named += [f"examples/{name}" for name in re.findall(r"`(\w+\.ipynb)`", text)]
    assert named and all((ROOT / name).is_file() for name in named)


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda path: path.stem)
def test_what_it_imports_is_there(source: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)]
    named = [(node.module, alias.name) for node in imports for alias in node.names if "google" not in str(node.module)]
    assert named and [name for name in named if not hasattr(importlib.import_module(str(name[0])), name[1])] == []


@pytest.mark.parametrize(
    "source",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem != FAST)) for path in EXAMPLES],
)
def test_it_runs_in_a_minute(source: Path, tmp_path: Path) -> None:
    notebook = jupytext.read(source)
    client = nbclient.NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.get("text", "") for output in outputs]
    assert sum(text.count("\n") for text in texts) < 60 and not any("Warning" in text for text in texts)
    assert any("<svg" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert list(tmp_path.iterdir()) == []  # records go to folders of their own
