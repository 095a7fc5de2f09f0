"""Files of studies, and the runs that they define."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.study.plan import StudyPlan
from tests.support.studies import TEXT, read


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> StudyPlan:
    return read(tmp_path_factory.mktemp("plan"))


def test_cells_are_the_product_of_the_axes(plan: StudyPlan) -> None:
    assert [cell.name for cell in plan.cells] == ["ring/iid", "ring/classes", "star/iid", "star/classes"]
    pairs = [f"{cell.name}/{each.label}" for cell, each in plan.pairs()]
    assert len(pairs) == 9 and [each for each in pairs if "gossip" in each] == ["ring/iid/gossip"]


def test_each_run_has_the_keys_of_its_cell_and_strategy(plan: StudyPlan) -> None:
    cells = {cell.name: cell for cell in plan.cells}
    ngpd, _, gossip = plan.strategies
    trial = plan.trial(cells["star/classes"], ngpd, {"strategy.lr": 0.3})
    assert (trial.topology.name, trial.partition.name, trial.strategy.name) == ("star", "classes", "ngpd")
    assert (trial.strategy.lr, trial.seed, trial.evaluation.split) == (0.3, 0, "validation")  # type: ignore[attr-defined]
    final = plan.report(cells["star/classes"], ngpd, {"strategy.lr": 0.3}, 7)
    assert (final.seed, final.evaluation.split, final.training.rounds) == (7, "test", 2)
    own = plan.report(cells["ring/iid"], gossip, {}, 1)  # its own graph there, not that of the cell
    assert (own.topology.name, own.topology.nodes) == ("circulant", 5)


def test_trials_may_be_cheaper_and_in_one_cell_for_all(tmp_path: Path) -> None:
    text = TEXT.replace("trials = 2", 'trials = 2\ncell = "ring"\noverrides = {"training.rounds" = 1}')
    plan = read(tmp_path, text)
    cells = {cell.name: cell for cell in plan.cells}
    ngpd = plan.strategies[0]
    assert plan.tuning_cell(cells["star/classes"], ngpd) is cells["ring/classes"]
    assert plan.tuning_cell(cells["ring/iid"], ngpd) is cells["ring/iid"]
    assert plan.trial(cells["ring/iid"], ngpd, {}).training.rounds == 1
    assert plan.report(cells["ring/iid"], ngpd, {}, 1).training.rounds == 2
    one = read(tmp_path, text.replace('cell = "ring"', 'cell = "star/classes"'))
    assert {one.tuning_cell(cell, one.strategies[0]).name for cell in one.cells} == {"star/classes"}
    assert one.tuning_cell(one.cells[0], one.strategies[2]) is one.cells[0]  # it is not run in the one


def test_without_axes_there_is_one_cell(tmp_path: Path) -> None:
    text = TEXT[: TEXT.index("[axes")] + TEXT[TEXT.index("[strategies.ngpd]") : TEXT.index("[strategies.gossip]")]
    assert [(cell.name, each.label) for cell, each in read(tmp_path, text).pairs()] == [
        ("all", "ngpd"),
        ("all", "dsgd"),
    ]


def test_only(plan: StudyPlan) -> None:
    def names(only: str) -> list[str]:
        return [f"{cell.name}/{each.label}" for cell, each in plan.selected(only)]

    assert names("ring/iid/ngpd") == ["ring/iid/ngpd"]
    assert names("dsgd") == ["ring/iid/dsgd", "ring/classes/dsgd", "star/iid/dsgd", "star/classes/dsgd"]
    assert names("star") == ["star/iid/ngpd", "star/iid/dsgd", "star/classes/ngpd", "star/classes/dsgd"]
    with pytest.raises(InputError, match="--only sun: 'sun' is not known; allowed: classes, dsgd, gossip"):
        plan.selected("sun")
    with pytest.raises(InputError, match="no strategy is run in such a cell"):
        plan.selected("star/gossip")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "[tuning]",
            "[tuningg]",
            "tuningg: unknown key; did you mean 'tuning'",
        ),
        ('title = "Digits: 100 % of_the & {small}"', "", "title: this key is required"),
        ("trials = 2", "trials = 0", "tuning.trials: input should be greater than or equal to 1"),
        (
            "trials = 2",
            "tries = 2",
            "tuning.tries: unknown key; did you mean 'trials'",
        ),
        ("trials = 2", "", "tuning.trials: give trials, the same number for each strategy, or trials_per_key"),
        ("trials = 2", "trials = 2\ntrials_per_key = 2", "tuning.trials: give trials, the same number"),
        (
            "trials = 2",
            'trials = 2\nobjective = "rmse"',
            "tuning.objective: 'rmse' is not a final figure of these runs",
        ),
        (
            "trials = 2",
            'trials = 2\ncell = "moon"',
            "tuning.cell: 'moon' is not a cell; allowed: classes, iid, ring, star",
        ),
        ("seeds = [1, 2, 3]", "seeds = []", "final.seeds: "),
        ("targets = [0.4, 0.99]", "targets = [90]", "final.targets: 90 cannot be reached as accuracy"),
        ("seeds = [1, 2, 3]", "", "final.seeds: this key is required"),
        ("seeds = [1, 2, 3]", "seeds = [1, 1]", "final.seeds: 1 is given twice"),
        ("seeds = [1, 2, 3]", "seeds = [0, 1]", r"final.seeds: 0 is the trials' seed \(tuning.seed\)"),
        (
            "local_steps = 2}",
            "local_stepz = 2}",
            "ring/iid/ngpd: training.local_stepz: unknown key; did you mean 'local_steps'",
        ),
        ("[base]", "[base]\nseed = 3", "base.seed: is set by the study"),
        ("[base]", "[base]\nevaluation.split = 'test'", "base.evaluation.split: is set by the study"),
        (
            '"topology.name" = "star"',
            '"topology.nam" = "star"',
            "axes.graph.star.topology.nam: unknown key; did you mean 'topology.name'",
        ),
        ('"topology.name" = "star"', '"topology.name" = "sun"', "star/iid/ngpd: topology.name: "),
        (
            'iid = {partition = "iid"}',
            'ring = {partition = "iid"}',
            "axes.split.ring: must occur once among all axes",
        ),
        ('strategy = "ngpd"}', 'strategy = "adam"}', r"strategies.ngpd.search|ring/iid/ngpd: strategy.name: .*adam"),
        ('fixed = {strategy = "ngpd"}', "fixed = {}", "strategies.ngpd.fixed: strategy.name is required"),
        ('role = "baseline"', 'role = "guest"', "strategies.gossip.role: input should be 'peer' or 'baseline'"),
        (
            'role = "baseline"',
            'rule = "guest"',
            "strategies.gossip.rule: unknown key; did you mean 'role'",
        ),
        (
            '"strategy.lr" = [0.1, 0.2]',
            '"strategy.l" = [0.1]',
            "strategies.dsgd.search.strategy.l: unknown key; did you mean 'strategy.lr'",
        ),
        ('"strategy.lr" = [0.1, 0.2]', '"strategy.lr" = [-1]', "strategies.dsgd.search.strategy.lr: input should be"),
        ('"strategy.lr" = [0.1, 0.2]', "seed = [1, 2]", "strategies.dsgd.search.seed: is set by the study"),
        ('"strategy.lr" = 0.05', '"strategy.lr" = 2.0', "strategies.ngpd.start.0.strategy.lr: 2.0 is not in the range"),
        ('"strategy.lr" = 0.05', "training.rounds = 3", "start.0: should give the keys of search, strategy.lr"),
        (
            "trials = 2",
            "trials = 0x1\n[tuning.overrides]\nseed = 4",
            "tuning.overrides.seed: is set by the study",
        ),
        ('only = ["ring"]', 'only = ["moon"]', "strategies.gossip.only: 'moon' is not a cell; allowed: classes, iid"),
        ('skip = ["ring/classes"]', 'skip = ["ring"]', "strategies.gossip: only and skip leave no cell"),
        ("cells.iid", "cells.moon", "strategies.gossip.cells: 'moon' is not a cell"),
        ('cell = "ring/iid"', 'cell = "ring/moon"', "paper.0.cell: 'ring/moon' is not a cell"),
        (
            'strategy = "ngpd"\nvalue',
            'strategy = "adam"\nvalue',
            "paper.0.strategy: 'adam' is not known; allowed: ngpd",
        ),
        ("value = 0.975", "", "paper.0.value: this key is required"),
        (
            "[strategies.dsgd]",
            "[strategies.star]",
            "strategies.star: must not be a value of an axis",
        ),
        ('split]\niid = {partition = "iid"}', 'split]\niid = {data.dataset = "diabetes"}', "a study needs one kind"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(old: str, new: str, error: str, tmp_path: Path) -> None:
    assert old in TEXT
    with pytest.raises(InputError, match=error) as told:
        read(tmp_path, TEXT.replace(old, new))
    assert "\n" not in str(told.value)


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "studies.md").read_text(encoding="utf-8")
    plan = read(tmp_path, page.split("```toml\n")[1].split("```")[0])
    assert [cell.name for cell in plan.cells] == ["ring/iid", "ring/two", "double-ring/iid", "double-ring/two"]
    assert len(plan.pairs()) == 4 * 3 - 1
    assert plan.tuning_cell(plan.cells[3], plan.strategies[0]) is plan.cells[1]
