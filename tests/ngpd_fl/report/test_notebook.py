"""Runs show themselves in notebooks: escaped, without scripts, in pictures and tables; progress is one output."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbclient
import nbformat
import pytest

from ngpd_fl import Config, InputError, Result, RunFolder, run
from ngpd_fl.report.colors import method_color
from tests.ngpd_fl.report.page.test_document import HOSTILE

CONFIG = Config(model="softmax", topology={"nodes": 4}, training={"rounds": 3, "local_steps": 2})


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(CONFIG, tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run(CONFIG, tmp_path / "run")
    return RunFolder(tmp_path / "run")


class Parts(HTMLParser):
    """Tags and texts of a fragment.

    Attributes:
        tags: names of its elements.
        texts: its texts.
        attributes: names of all attributes.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.texts, self.attributes = [], [], set[str]()  # type: ignore[var-annotated]
        self.open = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_a_result_shows_its_figures_and_a_chart(result: Result) -> None:
    text = result._repr_html_()
    parts = Parts(text)
    final = result.summary["final"]
    accuracies = f"mean {100 * final['mean_accuracy']:.1f} %, worst {100 * final['min_accuracy']:.1f} %"
    assert any(accuracies in each for each in parts.texts) and "finished after 3 rounds" in parts.texts
    assert parts.tags.count("polyline") == 3 and method_color("ngpd") in text
    assert not {"script", "img", "iframe", "link"} & set(parts.tags)
    assert not any(name.startswith("on") for name in parts.attributes)
    assert repr(result) == "Result('ngpd', 'finished', 4 evaluations)"


def test_a_folder_shows_the_same_and_its_name(folder: RunFolder, result: Result) -> None:
    text = folder._repr_html_()
    assert "<code>run</code>" in text and text.count("<polyline") == 3
    assert repr(folder) == f"RunFolder({str(folder.path)!r})"


def test_records_are_no_markup(folder: RunFolder, result: Result) -> None:
    renamed = folder.path.parent / HOSTILE.replace("/", "")
    folder.path.rename(renamed)
    hostile = replace(result, summary=result.summary | {"status": HOSTILE})
    for shown in (RunFolder(renamed), hostile):
        text = shown._repr_html_()
        assert "<svg" in text and "&lt;script&gt;alert(1)" in text
        assert not {"script", "img"} & set(Parts(text).tags)
    (renamed / "metrics.jsonl").write_text("{}\n{}\n")
    damaged = RunFolder(renamed)._repr_html_()
    assert "damaged" in damaged and set(Parts(damaged).tags) == {"p"}


def test_errors_of_any_size_have_a_chart() -> None:
    data, topology, training = {"dataset": "diabetes"}, {"nodes": 2}, {"rounds": 1, "local_steps": 1}
    result = run(Config(data=data, model="softmax", strategy="dsgd", topology=topology, training=training))
    last = result.metrics[-1].model_copy(update=dict.fromkeys(("mean_rmse", "max_rmse"), 1.79e308))
    text = replace(result, metrics=[result.metrics[0], last])._repr_html_()
    assert "<svg" in text and "nan" not in text


def test_an_accuracy_that_is_none_is_damaged(folder: RunFolder) -> None:
    path = folder.path / "metrics.jsonl"
    path.write_text(re.sub(r'"mean_accuracy":[\d.]+', '"mean_accuracy":1e308', path.read_text()))
    assert "line 1 is damaged (mean_accuracy: input should be less than or equal to 1" in folder._repr_html_()


def test_a_run_that_has_not_begun_to_evaluate(folder: RunFolder) -> None:
    for name in ("metrics.jsonl", "summary.json"):
        (folder.path / name).unlink()
    text = folder._repr_html_()
    assert "unfinished after round 0 of 3" in text and "<svg" not in text
    with pytest.raises(InputError, match="plot: nothing has been evaluated yet"):
        folder.plot()
    assert folder.to_pandas().empty


def test_a_picture(result: Result) -> None:
    figure = result.plot()
    _, mean = figure.axes[0].lines
    assert list(mean.get_ydata()) == [100 * metrics.mean for metrics in result.metrics]
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_a_table_has_all_evaluations(result: Result, folder: RunFolder) -> None:
    frame = result.to_pandas()
    assert list(frame.index) == [0, 1, 2, 3]
    assert list(frame["mean_accuracy"]) == [metrics.mean for metrics in result.metrics]
    assert list(frame.explode("accuracy").loc[3, "accuracy"]) == result.metrics[-1].nodes
    recorded = folder.to_pandas()
    assert list(recorded["mean_accuracy"]) == list(frame["mean_accuracy"])
    assert set(recorded.columns) == set(json.loads((folder.path / "metrics.jsonl").read_text().splitlines()[0])) - {
        "round"
    }


def test_without_pandas_it_says_so(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"to_pandas: needs pandas \(`pip install pandas`\)"):
        result.to_pandas()


def test_progress_in_a_notebook_is_one_output(tmp_path: Path) -> None:
    """300 rounds in a kernel of Jupyter: one bar, at its end, however often it has changed."""
    code = """
from ngpd_fl import Config, ProgressBar, run
result = run(
    Config(model="softmax", topology={"nodes": 3}, training={"rounds": 300, "local_steps": 1}),
    callbacks=[ProgressBar()],
)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell("result")])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    bar, shown = (cell.outputs for cell in notebook.cells)
    assert len(bar) == 1 and bar[0].output_type == "display_data"
    assert (
        '<progress value="300" max="300">' in bar[0].data["text/html"] and "round 300/300" in bar[0].data["text/plain"]
    )
    assert len(shown) == 1 and shown[0].data["text/plain"].startswith("Result('ngpd', 'finished'")
    assert "<svg" in shown[0].data["text/html"]


def test_progress_elsewhere_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    from ngpd_fl import ProgressBar

    run(
        CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"rounds": 200})}),
        None,
        [ProgressBar()],
    )
    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 15 and lines[-1].startswith("ngpd  round 200/200")
