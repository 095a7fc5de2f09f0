"""Files of sweeps, and the points that they define."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.sweep import SweepPlan
from ngpd_fl.sweep.space import parse_space
from ngpd_fl.sweep.tasks import FINISHED, RunEnd
from ngpd_fl.sweep.trials import Trials

BASE = 'model = "softmax"\n[topology]\nnodes = 4\n[training]\nrounds = 1\nlocal_steps = 1\n'


def plan(folder: Path, text: str) -> SweepPlan:
    path = folder / "sweep.toml"
    path.write_text(BASE + text)
    return SweepPlan.read(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "has no section [sweep]"),
        ("[sweep]\n", "nothing to sweep"),
        ("[sweep]\ntrails = 3\n", "sweep.trails: unknown key; did you mean 'trials'? allowed: sampler, trials"),
        (
            "[sweep.keys]\n'strategy.lt' = [1]\n",
            "sweep.keys.strategy.lt: unknown key; did you mean 'strategy.lr'? allowed: strategy, strategy.name, ",
        ),
        (f"[sweep]\nseed = {2**32}\n[sweep.keys]\nstrategy.lr = [0.1]\n", "sweep.seed: input should be less than"),
        ("[sweep.keys]\nstrategy.lr = []\n", "strategy.lr: the list is empty"),
        ("[sweep.keys]\n'strategy.lr' = [0.1]\nstrategy.lr = [0.2]\n", "strategy.lr: is given twice"),
        ("[sweep.keys]\nstrategy.lr = [0.1, 0.1]\n", "0.1 is given twice"),
        ("[sweep.keys]\nstrategy.lr = [0.1, -1]\n", "strategy.lr: input should be greater than 0 (got -1)"),
        ("[sweep.keys]\nstrategy.lr = [0.1, inf]\n", "strategy.lr: input should be a finite number (got inf)"),
        ("[sweep.keys]\nstrategy = ['ngpd', 'nngpd']\n", "strategy.name: 'nngpd'"),
        ("[sweep.keys]\nstrategy.lr = {low = 0.1, high = 1}\n", "a grid has no ranges"),
        ("[sweep]\ntrials = 2\n[sweep.keys]\nstrategy.lr = [0.1]\n", "a grid has 1 trials, one for each combination"),
        ("[sweep]\nsampler = 'tpe'\n[sweep.keys]\nstrategy.lr = [0.1]\n", "needs the number of trials"),
        ("[sweep]\nobjective = 'mean_rmse'\n[sweep.keys]\nstrategy.lr = [0.1]\n", "allowed: mean_accuracy"),
        ("[sweep.keys]\nstrategy.lr = {low = 1.0, high = 0.1}\n", "low must be less than high (got 1.0 and 0.1)"),
        (
            "[sweep.keys]\nstrategy.lr = {low = 0.1, hihg = 1}\n",
            "hihg: unknown key; did you mean 'high'?",
        ),
        ("[sweep.keys]\nstrategy.lr = {low = -0.1, high = 1}\n", "greater than 0 (got -0.1)"),
        ("[sweep.keys]\nseed = {low = 0, high = 9, log = true}\n", "low must be above 0 (got 0)"),
        ("[sweep.keys]\nseed = {low = 0.5, high = 9}\n", "needs whole numbers"),
        ("[sweep.keys]\ndata.dataset = {low = 0.5, high = 9}\n", "is not a number"),
        ("[sweep.keys]\ntopology.nodes = [0]\n", "topology.nodes: "),
    ],
)
def test_what_cannot_be_is_told_in_one_line(text: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        plan(tmp_path, text)
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    text = (
        "[sweep.keys]\nstrategy.name = ['ngpd', 'dsgd']\nmodel.hidden = [[8], [8, 8]]\nstrategy.lr = [0.1, 0.2, 0.3]\n"
    )
    found = plan(tmp_path, text)
    points = [found.values(trial.params) for trial in Trials(found, tmp_path).to_run()]
    wanted = itertools.product(["ngpd", "dsgd"], [0.1, 0.2, 0.3], [[8], [8, 8]])
    key = ("strategy.name", "strategy.lr", "model.hidden")
    assert sorted(map(str, [tuple(point[k] for k in key) for point in points])) == sorted(map(str, wanted))
    assert found.base["evaluation"] == {"split": "validation"}


RANGES = (
    "trials = {}\nseed = {}\n[sweep.keys]\nstrategy.lr = {{low = 0.01, high = 1, log = true}}\n"
    "seed = {{low = 1, high = 3}}\n"
)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_draws_depend_on_the_seed_alone(sampler: str, tmp_path: Path) -> None:
    def drawn(name: str, seed: int, cut: int | None = None) -> list[dict[str, object]]:
        (tmp_path / name).mkdir()
        found = plan(tmp_path, f"[sweep]\nsampler = '{sampler}'\n{RANGES.format(12, seed)}")
        points = []
        for stop in [cut, None]:
            trials = Trials(found, tmp_path / name)
            for trial in itertools.islice(trials.to_run(), stop):
                trials.end(trial, RunEnd(FINISHED, value=found.values(trial.params)["strategy.lr"]))
                points.append(found.values(trial.params))
        return points

    whole = drawn("whole", 0, 0)
    assert len(whole) == 12
    assert all(0.01 <= point["strategy.lr"] <= 1 and point["seed"] in (1, 2, 3) for point in whole)  # type: ignore[operator]
    assert drawn("again", 0, 0) == whole
    assert drawn("cut", 0, 5) == whole
    assert drawn("other", 1, 0) != whole


@pytest.mark.parametrize("key", ["strategy.damping", "strategy.fisher_smoothing"])
def test_a_number_that_may_be_automatic_has_a_range(key: str) -> None:
    space = parse_space({key: {"low": 0.01, "high": 0.1}}, {}, "sweep.keys")
    assert space[key].holds(0.05) and not space[key].holds(0.5)
    assert parse_space({key: ["auto", 0.1]}, {}, "sweep.keys")[key].holds("auto")
