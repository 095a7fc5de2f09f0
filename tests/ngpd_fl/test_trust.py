"""Code that a record names runs only for who says that they trust it; code that the user names runs as ever."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ngpd_fl.cli import main
from ngpd_fl.config import Config, InputError
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.peer.merge import gather
from ngpd_fl.peer.run import write_self
from ngpd_fl.records import RunFolder
from ngpd_fl.records.folder import _fingerprint
from ngpd_fl.report.page import write_page
from ngpd_fl.report.pictures import write_plots
from ngpd_fl.study import StudyPlan
from ngpd_fl.sweep import SweepPlan
from ngpd_fl.sweep.executors import ProcessExecutor, run_tasks
from ngpd_fl.sweep.tasks import RunTask
from ngpd_fl.training.run import resume, run
from tests.support.interrupted_runs import interrupt
from tests.support.studies import TEXT

MODULE = "a_strangers_module"
CODE = """
from pathlib import Path
import torch
from torch import nn
Path(__file__).with_suffix(".ran").touch()

def network(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def data():
    draw = torch.Generator().manual_seed(0)
    inputs, labels = torch.rand((40, 64), generator=draw), torch.arange(40) % 10
    return inputs, labels, inputs, labels
"""
KEYS = {"model.name": f"{MODULE}:network", "data.dataset": f"{MODULE}:data"}


class Stranger:
    """A module that leaves a mark where it was run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{MODULE}.py"
        self.path.write_text(CODE)

    def has_run(self) -> bool:
        """Whether it has since the last question."""
        mark = self.path.with_suffix(".ran")
        found = mark.exists()
        mark.unlink(missing_ok=True)
        sys.modules.pop(MODULE, None)
        return found


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    sys.modules.pop(MODULE, None)
    return Stranger(tmp_path)


def config(**keys: Any) -> Config:
    base = {"topology.nodes": 4, "strategy": "dsgd", "training.rounds": 2, "training.local_steps": 1}
    return Config.load(overrides={**base, "partition": "iid", **keys})


def recorded(stranger: Stranger, key: str, *, is_cut: bool = False) -> Path:
    """The folder of a run whose configuration names the module, which does not count as having run."""
    folder = stranger.path.parent / "run"
    settings = config(**{key: KEYS[key]})
    if is_cut:
        interrupt(settings, folder, 1, checkpoint_every=1)
    else:
        run(settings, folder)
    write_self(folder, range(4), 1, 1)
    assert stranger.has_run()
    return folder


LIBRARY: dict[str, Callable[..., Any]] = {
    "evaluate": lambda folder, **trust: evaluate_saved(RunFolder.open(folder), **trust),
    "resume": lambda folder, **trust: resume(folder, on_event=str, **trust),
    "gather": lambda folder, **trust: gather([folder], folder.parent / "all", **trust),
}
COMMANDS = {
    "evaluate": ["evaluate", "run"],
    "resume": ["resume", "run", "--quiet"],
    "gather": ["gather", "run", "--out", "all", "--quiet"],
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("what", LIBRARY)
def test_recorded_code_runs_only_where_it_is_trusted(
    what: str, key: str, stranger: Stranger, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recorded(stranger, key, is_cut=what == "resume")
    with pytest.raises(InputError, match=f"{key} = {KEYS[key]}.*--trust-code.*trust_code=True"):
        LIBRARY[what](folder)
    assert main(COMMANDS[what]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and KEYS[key] in said and "--trust-code" in said
    assert not stranger.has_run() and not (folder.parent / "all").exists()
    LIBRARY[what](folder, trust_code=True)
    assert stranger.has_run()


def test_a_flag_says_that_code_is_trusted(stranger: Stranger) -> None:
    recorded(stranger, "model.name")
    assert main(["evaluate", "run", "--trust-code"]) == 0
    assert stranger.has_run()


def test_pages_and_pictures_of_a_record_need_no_code(stranger: Stranger) -> None:
    folder = recorded(stranger, "data.dataset")
    write_page([folder], folder.parent / "page.html")
    assert folder / "plots" / "partition.png" in write_plots(folder)
    (folder / "label_counts.json").unlink()  # then only the data say how they were divided
    with pytest.raises(InputError, match="trust"):
        write_plots(folder)
    assert main(["show", "run", "--plots"]) == 2 and not stranger.has_run()
    assert main(["show", "run", "--plots", "--trust-code"]) == 0 and stranger.has_run()


@pytest.mark.parametrize("key", KEYS)
def test_plans_in_folders_of_sweeps_and_studies(key: str, stranger: Stranger) -> None:
    folder = stranger.path.parent / "records"
    folder.mkdir()
    section, _, name = key.partition(".")
    sweep = folder / "sweep.toml"
    sweep.write_text(f'[{section}]\n{name} = "{KEYS[key]}"\n[sweep.keys]\n"strategy.lr" = [0.1]\n')
    study = folder / "study.toml"
    study.write_text(TEXT.replace('model = "softmax"', f'{section} = {{{name} = "{KEYS[key]}"}}'))
    for path, plan in ((sweep, SweepPlan), (study, StudyPlan)):
        with pytest.raises(InputError, match=f"{path}: its configuration names code .*{KEYS[key]}"):
            plan.read(path, trust_code=False)
        assert main(["show", "records"]) == 2 and not stranger.has_run()
        plan.read(path)  # as the user's own
        assert stranger.has_run()
        path.unlink()


def test_a_trial_goes_on_only_where_its_folder_has_its_configuration(tmp_path: Path) -> None:
    interrupt(config(seed=7), tmp_path / "trial", 1, checkpoint_every=1)
    ends: list[Any] = []
    task = RunTask(
        "trial", tmp_path / "trial", config(seed=8).model_dump(mode="json", exclude_none=True), {}, "mean_accuracy"
    )
    run_tasks([task], ProcessExecutor(), 1, lambda task, end: ends.append(end))
    assert ends[0].status == "failed" and "holds a run of another configuration" in ends[0].note


def test_nothing_is_downloaded_to_where_a_record_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    class Reader:
        def __init__(self, root: Path, download: bool, **which: Any) -> None:
            asked.append(download)
            raise RuntimeError("Dataset not found")

    monkeypatch.setattr("ngpd_fl.data.vision_sets.vision_datasets", lambda: SimpleNamespace(MNIST=Reader))
    for is_cut in (False, True):
        folder = tmp_path / f"run{is_cut}"
        interrupt(config(), folder, 1, checkpoint_every=1) if is_cut else run(config(), folder)
        write_self(folder, range(4), 1, 1)
        text = (folder / "config.toml").read_text()
        text = text.replace('dataset = "digits"', f'dataset = "mnist"\ndata_dir = "{tmp_path / "elsewhere"}"')
        text = text.replace("download = false", "download = true")
        (folder / "config.toml").write_text(text)
        environment = json.loads((folder / "environment.json").read_text()) | {"config": _fingerprint(text)}
        (folder / "environment.json").write_text(json.dumps(environment))
        (folder / "label_counts.json").unlink()
        for what in ("resume",) if is_cut else ("evaluate", "gather"):
            try:
                LIBRARY[what](folder)
            except InputError as error:
                assert "data.download=true" in str(error)
            assert asked and not any(asked)
            shutil.rmtree(tmp_path / "all", ignore_errors=True)
            with suppress(InputError):
                LIBRARY[what](folder, trust_code=True)
            assert any(asked)
            asked.clear()
        assert not is_cut or RunFolder(folder).config().data.download
    sweep = tmp_path / "sweep.toml"
    sweep.write_text(
        '[data]\ndataset = "mnist"\ndata_dir = "here"\ndownload = true\n[sweep.keys]\n"strategy.lr" = [0.1]\n'
    )
    with pytest.raises(InputError):
        SweepPlan.read(sweep, trust_code=False)
    assert asked and not any(asked)
    with pytest.raises(InputError):
        SweepPlan.read(sweep)  # as the user's own
    assert any(asked)


def test_a_network_of_torchvisions_is_no_strangers_code(tmp_path: Path) -> None:
    from ngpd_fl.config import require_trust

    require_trust(config(**{"model.name": "torchvision:resnet18"}), tmp_path, trust_code=False)
    with pytest.raises(InputError, match=r"model\.loss = m:f"):
        require_trust(config(**{"model.loss": "m:f"}), tmp_path, trust_code=False)
