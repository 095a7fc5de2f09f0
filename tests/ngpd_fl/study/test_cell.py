"""Cells of a study: names that tables can hold, and numbers that can be run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.study.cell import make_cells
from ngpd_fl.study.plan import StudyPlan
from ngpd_fl.study.results import results, run_row
from ngpd_fl.study.schedule import Schedule
from tests.support.studies import TEXT, PretendRunStore, read


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "\x1b[31m", "\u202eb", "x" * 101])
def test_names_that_cannot_be(name: str, tmp_path: Path) -> None:
    for axes in ({name: {"ring": {}}}, {"graph": {name: {}}}):
        with pytest.raises(InputError, match="characters that can be printed, without a slash"):
            make_cells(axes)
    label = name.replace("\x1b", "\\u001b").replace("\n", "\\n")
    with pytest.raises(InputError, match="characters that can be printed, without a slash"):
        read(tmp_path, TEXT.replace("[strategies.gossip]", f'[strategies."{label}"]'))


def test_an_axis_replaces_no_column(tmp_path: Path) -> None:
    """Of all columns of the tables, the axes' own alone are names of axes."""
    plan = read(tmp_path)
    schedule = Schedule(plan, PretendRunStore(tmp_path, lambda config: 0.9))
    columns = {name for run in schedule.runs() for name in run_row(plan, run, 1.0)}
    columns |= {name for row in results(schedule, schedule.runs()) for name in row}
    allowed = set()
    for column in columns:
        try:
            make_cells({column: {"ring": {}}})
            allowed.add(column)
        except InputError as error:
            assert "is the name of a column of the tables" in str(error)
    assert allowed == {"graph", "split"} and len(columns) > 40


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "[axes.graph]",
            "\n".join(
                f"[axes.a{axis}]\n" + "\n".join(f"v{axis}{value} = {{}}" for value in range(10)) for axis in range(9)
            )
            + "\n[axes.graph]",
            "axes: their product has 4000000000 cells; allowed: at most 10000",
        ),
        (
            "trials = 2",
            "trials = 1000000000\nsampler = 'random'",
            "would have 1000000000 trials in a cell; allowed: at",
        ),
        ("trials = 2", "trials_per_key = 1001", "strategies.ngpd would have 1001 trials in a cell; allowed: at most"),
        ("seeds = [1, 2, 3]", f"seeds = {list(range(1, 200_000))}", "the study would have 1800007 runs; allowed: at"),
        ("seeds = [1, 2, 3]", f"seeds = {[*range(1, 200_000), 1]}", "final.seeds: 1 is given twice"),
        ("value = 0.975", "value = 97.5", "paper.0.value: 97.5 cannot be reached as accuracy; allowed: above 0"),
        ("targets = [0.4, 0.99]", "targets = [0.4, 0.4000000001]", "final.targets: 0.4 is given twice, to six digits"),
        ("[0.1, 0.2]", "[0.1, inf]", "strategies.dsgd.search.strategy.lr: input should be a finite number"),
        (TEXT[TEXT.index("[strategies.ngpd]") :], "[strategies]", "strategies: none given"),
    ],
)
def test_what_cannot_be_is_told_soon(old: str, new: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_text(TEXT.replace(old, new))
    began = time.process_time()
    with pytest.raises(InputError) as told:
        StudyPlan.read(tmp_path / "file.toml")
    assert error in str(told.value) and time.process_time() - began < 20
