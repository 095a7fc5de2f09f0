"""``run``, ``resume`` and ``evaluate_saved`` with a program's own objects in place of names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import data as torch_data

from ngpd_fl import Callback, Config, InputError, RunFolder, resume, run
from ngpd_fl.cli.app import main
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import Dataset, Split, load_dataset
from ngpd_fl.data.task import Classification, MultiLabelClassification, TokenClassification
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.records import Progress
from ngpd_fl.training.loop import TrainingLoop

GRAPH = nx.path_graph(3)
SHORT = Config(strategy="dsgd", training={"rounds": 2, "local_steps": 2}, engine={"device": "cpu"})

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(90, 4, generator=GENERATOR)
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
NESTED = torch.nested.nested_tensor([Y, Y[:1]], layout=torch.jagged)
PARTS = [np.arange(node, 90, 3) for node in range(3)]


def make_net(input_shape: Sequence[int], num_classes: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(*input_shape, 6), nn.Tanh(), nn.Linear(6, num_classes))


class Pairs(torch_data.Dataset[tuple[Tensor, int]]):
    """A map-style set without tensors of its own."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return X[index], int(Y[index])


class Named(torch_data.Dataset[dict[str, Any]]):
    """A map-style set whose examples are dictionaries, as loaders of Flower's examples have them."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"label": int(Y[index]), "x": X[index]}


def hugging_face() -> Any:
    import datasets

    return datasets.Dataset.from_dict({"x": X.numpy(), "label": Y.numpy()})


def transformed() -> Any:
    """A table whose examples become those of the others by a function."""
    table = hugging_face().map(lambda example: {"x": [2 * value for value in example["x"]]})
    return table.with_transform(lambda batch: batch | {"x": [torch.tensor(x) / 2 for x in batch["x"]]})


def joined() -> Any:
    return torch_data.ConcatDataset([transformed().select(range(40)), transformed().select(range(40, 90))])


def test_an_object_runs_as_its_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_objects.py").write_text("from test_objects import X, Y, make_net\npair = (X, Y)\n")
    monkeypatch.delitem(sys.modules, "own_objects", raising=False)
    named = SHORT.model_dump() | {"data": {"dataset": "own_objects:pair"}, "model": "own_objects:make_net"}
    by_name = run(Config(**named | {"topology": GRAPH}))
    by_object = run(SHORT, model=make_net, data=(X, Y), graph=GRAPH)
    assert torch.equal(by_name.params, by_object.params)
    assert [line.model_dump(exclude={"train_seconds"}) for line in by_name.metrics] == [
        line.model_dump(exclude={"train_seconds"}) for line in by_object.metrics
    ]


@pytest.mark.parametrize(
    "data",
    [
        (X.numpy(), Y.numpy()),
        torch_data.TensorDataset(X, Y),
        Pairs(),
        hugging_face,
        {"train": Pairs()},
        Named(),
        transformed,
        joined,
    ],
    ids=["arrays", "tensor set", "torch set", "Hugging Face", "mapping", "dictionaries", "transform", "joined"],
)
def test_every_form_of_the_same_data_gives_the_same_run(data: Any) -> None:
    data = data() if data in (hugging_face, transformed, joined) else data
    expected = run(SHORT, model=make_net, data=(X, Y), graph=GRAPH)
    assert torch.equal(run(SHORT, model=make_net, data=data, graph=GRAPH).params, expected.params)


def test_training_and_test_data_apart() -> None:
    train, test = torch_data.TensorDataset(X[:80], Y[:80]), torch_data.TensorDataset(X[80:], Y[80:])
    pairs = run(SHORT, model=make_net, data=(train, test), graph=GRAPH)
    arrays = run(SHORT, model=make_net, data=(X[:80], Y[:80], X[80:], Y[80:]), graph=GRAPH)
    assert torch.equal(pairs.params, arrays.params)
    assert pairs.config.data.dataset == "object:TensorDataset"


def test_arrays_apart_by_name() -> None:
    by_name = run(SHORT, model=make_net, data={"train": (X[:80], Y[:80]), "test": (X[80:], Y[80:])}, graph=GRAPH)
    arrays = run(SHORT, model=make_net, data=(X[:80], Y[:80], X[80:], Y[80:]), graph=GRAPH)
    assert torch.equal(by_name.params, arrays.params)
    alone = run(SHORT, model=make_net, data={"train": (X, Y)}, graph=GRAPH)
    assert torch.equal(alone.params, run(SHORT, model=make_net, data=(X, Y), graph=GRAPH).params)


def test_a_ready_data_set_is_taken_as_it_is() -> None:
    loaded = load_dataset(DataConfig(), seed=0)
    assert torch.equal(run(SHORT, data=loaded).params, run(SHORT).params)


def test_a_network_starts_from_its_present_parameters_and_is_not_changed() -> None:
    net = make_net((4,), 3).double().requires_grad_(True).eval()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    config = SHORT.model_copy(update={"strategy": SHORT.strategy.model_copy(update={"lr": 1e-30})})
    result = run(config, model=net, data=(X, Y), graph=GRAPH)
    start = torch.cat([values.flatten() for values in before]).float()
    torch.testing.assert_close(result.params, start.expand(3, -1))
    assert all(map(torch.equal, before, net.parameters())) and not net.training


def test_nothing_but_objects() -> None:
    seen: list[int] = []

    class Stop(Callback):
        def on_round(self, run: TrainingLoop, progress: Progress) -> None:
            seen.append(progress.round)
            run.stop()

    result = run(model=make_net((4,), 3), data=(X, Y), graph=nx.cycle_graph(4), callbacks=[Stop()])
    assert seen == [0] and result.params.shape[0] == 4
    assert result.config.strategy.name == "ngpd" and result.config.topology.nodes == 4


def test_a_graph_keeps_the_schedule() -> None:
    config = Config(topology={"schedule": "matching"}, **SHORT.model_dump(exclude={"topology"}))
    assert run(config, graph=nx.Graph([("a", "b"), ("b", "c")])).config.topology.schedule.name == "matching"


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list])
def test_index_lists_count_in_the_data_as_they_are_given(kind: Callable[[Any], Any]) -> None:
    seen: list[tuple[Tensor, ...]] = []

    class See(Callback):
        def on_start(self, run: TrainingLoop) -> None:
            minibatches = run.trainable.job.minibatches  # type: ignore[attr-defined]
            drawn, _ = minibatches(torch.arange(3), [0, 0, 0], run.trainable.job.strategy.phase(0))  # type: ignore[attr-defined]
            seen.append(drawn[0])

    parts = [kind(part.tolist()) for part in PARTS]
    config = Config(**SHORT.model_dump() | {"data": {"batch_size": 64}})
    run(config, model=make_net, data=(X, Y), graph=GRAPH, partition=parts, callbacks=[See()])
    [inputs] = seen
    for node in range(3):
        own = {tuple(row) for row in inputs[node].tolist()}
        assert own < {tuple(row) for row in X[PARTS[node]].tolist()}
        assert len(own) > len(PARTS[node]) / 2


RESUMED = {"model": make_net, "data": (X, Y), "partition": PARTS}


@pytest.fixture
def cut_short(tmp_path: Path) -> Path:
    """A run that was interrupted after its first round, with a checkpoint."""

    class Interrupt(Callback):
        def on_round(self, run: TrainingLoop, progress: Progress) -> None:
            if progress.round == 1:
                run.stop("interrupted")

    run(SHORT, tmp_path / "run", [Interrupt()], graph=GRAPH, checkpoint_every=1, **RESUMED)
    return tmp_path / "run"


def test_resume_takes_the_objects_again(cut_short: Path) -> None:
    heard: list[str] = []
    resumed = resume(cut_short, on_event=heard.append, **RESUMED)
    assert torch.equal(resumed.params, run(SHORT, graph=GRAPH, **RESUMED).params) and heard == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"data": None},
            r"data.dataset: object:Tensor is recorded .* give it again as data=\.\.\., which",
        ),
        ({"model": None}, r"model.name: object:make_net is recorded .* give it again as model=\.\.\."),
        ({"partition": None}, r"partition.file: object:ndarray is recorded .* give it again as partition=\.\.\."),
    ],
)
def test_resume_says_what_it_needs(cut_short: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}"):
        resume(cut_short, **RESUMED | changes)
    assert resume(cut_short, **RESUMED).summary["status"] == "finished"


def test_the_commands_say_what_the_records_need(cut_short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(cut_short)]) == 2
    assert "object:Tensor is recorded for an object of a Python program; give it again" in capsys.readouterr().err
    assert main(["show", str(cut_short), "--plots"]) == 0


def test_other_objects_than_before_are_told_of(cut_short: Path) -> None:
    heard: list[str] = []
    others = {"data": (X + 1, Y), "partition": PARTS[::-1], "model": nn.Sequential(*make_net((4,), 3), nn.Identity())}
    others["model"][0].weight.data += 1
    resume(cut_short, on_event=heard.append, **others)
    assert [all(f" {name} " in heard[0] for name in ("data", "partition", "model"))] == [True] and len(heard) == 1


def test_an_object_for_what_has_a_name_is_refused(tmp_path: Path) -> None:
    run(SHORT, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    with pytest.raises(InputError, match="^data: the run's own is digits, which is no object; leave data out$"):
        evaluate_saved(folder, data=(X, Y))
    with pytest.raises(InputError, match="^model: the run's own is mlp, which is no object; leave model out$"):
        evaluate_saved(folder, model=make_net)


def test_saved_models_of_objects_are_evaluated_again(tmp_path: Path) -> None:
    result = run(SHORT, tmp_path / "run", graph=GRAPH, **RESUMED)
    folder = RunFolder.open(tmp_path / "run")
    again = evaluate_saved(folder, model=make_net, data=(X, Y))
    np.testing.assert_allclose(again.evaluation.nodes, result.metrics[-1].accuracy)
    with pytest.raises(InputError, match="give it again as model="):
        evaluate_saved(folder, data=(X, Y))


def test_a_ready_data_set_without_validation_examples_is_said_to_have_none(tmp_path: Path) -> None:
    data = normalized(Split(X, Y))
    run(SHORT, tmp_path / "run", data=data, graph=GRAPH)
    with pytest.raises(InputError, match="^--split validation: object:Dataset has no such images$"):
        evaluate_saved(RunFolder.open(tmp_path / "run"), data=data, split="validation")


def test_a_recorded_object_name_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "object.py").write_text("raise SystemExit('it ran')\n")
    for section in ({"model": "object:Net"}, {"data": {"dataset": "object:Net"}}):
        with pytest.raises(InputError, match="object:Net is recorded for an object of a Python program"):
            run(Config(**section))


def normalized(split: Split) -> Dataset:
    return Dataset("own", split, Split(split.inputs[:0], split.labels[:0]), split, Classification(3))


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ({"model": "mlp"}, "model.name: object:str is no network but str; expected a torch.nn.Module or a factory"),
        ({"model": nn.Linear(4, 3)}, r"model: for a batch of 1 it returns shape \(1, 3\)|model: it fails on inputs"),
        ({"model": lambda: 3}, r"model.name: object:lambda\(input_shape=\(1, 8, 8\), num_classes=10\) failed \(Type"),
        ({"data": 3}, r"data.dataset: object:int gives int; expected \(inputs, labels\), "),
        ({"data": (X, Y, X)}, "data.dataset: object:Tensor gives 3 values; expected"),
        ({"data": (X, Y[:-1])}, "data.dataset: object:Tensor: 90 train_inputs but 89 train_labels"),
        ({"data": (X[:4], Y[:4])}, "data.dataset: object:Tensor: no class has the 5 examples"),
        ({"data": torch_data.TensorDataset(X)}, "data.dataset: object:TensorDataset: train has 1 tensors; expected"),
        ({"data": normalized(Split(X, Y + 1))}, "train_labels go up to 3; its task has 3 classes"),
        ({"data": normalized(Split(X, Y.float()))}, "train has labels of another kind than its task, Classification"),
        ({"data": normalized(Split((X * 0).byte(), Y))}, "train_inputs are uint8; a Dataset holds what a network gets"),
        ({"data": normalized(Split(X, Y.int()))}, "train_labels are int32; a Dataset holds what a network gets"),
        ({"data": normalized(Split(X.numpy(), Y))}, "train_inputs are a ndarray; a Dataset holds tensors"),
        ({"data": replace(normalized(Split(X, Y)), task=None)}, "its task is a NoneType; expected one of ngpd_fl.data"),
        ({"data": replace(normalized(Split(X, Y)), test=None)}, "test is a NoneType; expected a ngpd_fl.data.Split"),
        (
            {"data": replace(normalized(Split(X, Y)), task=TokenClassification(3, 2))},
            r"train_labels have shape \(90,\); its task, TokenClassification, expects \(90, 2\)",
        ),
        (
            {"data": replace(normalized(Split(X, torch.full((90, 2), 7))), task=MultiLabelClassification(2))},
            "train_labels have the value 7; multi-label classification needs 0 or 1",
        ),
        ({"data": replace(normalized(Split(X, Y)), owners=Y[:80])}, "owners: 80 numbers; expected 90, one for each"),
        ({"data": replace(normalized(Split(X, Y)), owners=Y.double())}, "owners: should be int64"),
        (
            {"data": replace(normalized(Split(X, Y)), train_index=Y + 89)},
            "train_index: from 89 to 91; allowed: -1",
        ),
        ({"data": (X.to("meta"), Y)}, "train_inputs are on the device meta, without values; give them on the CPU"),
        (
            {"data": (X, NESTED)},
            "train_labels are nested; pad them to one shape",
        ),
        ({"data": (X[:1, :1].expand(10**8, 10**8), X[:, 0])}, r"shape \(100000000, 100000000\) cannot be copied \(R"),
        ({"data": lambda: sys.exit(3)}, r"data.dataset: object:lambda\(\) failed \(SystemExit: 3\)"),
        ({"data": normalized(Split(X / 0, Y))}, "train_inputs have values that are infinite or not a number"),
        ({"graph": nx.DiGraph([(0, 1)])}, "topology: .*directed"),
        ({"graph": [(0, 1)]}, "graph: is a list; expected a networkx graph"),
        ({"graph": nx.empty_graph(3)}, "topology: "),
        ({"graph": nx.Graph([("a", "b\n")])}, r"^topology.labels: must be printable texts \(got 'b\\n'\)$"),
        ({"init": 3}, "init: is a int; expected the path of a run's folder or of a file"),
        ({"init": "a\0b"}, r"model.init: a\\x00b: cannot be read \(embedded null byte\)"),
        ({"partition": PARTS}, r"^partition has 3 lists for 8 nodes \(topology.nodes\)$"),
        ({"partition": [torch.arange(3, device="meta")] * 8}, "^partition: node 0 is no list of whole numbers"),
        ({"partition": [[10**30]] * 8}, f"^partition: node 0 has index {10**30}; allowed: 0 to"),
        ({"partition": {0: [1]}}, "^partition is a dict; expected a list of indices for each node$"),
        (
            {"partition": [np.arange(8) % 8 == node for node in range(8)]},
            r"^partition: node 0 holds bool; expected a list of whole numbers: numpy.flatnonzero\(mask\)$",
        ),
        (
            {"partition": [np.ma.masked_equal(np.arange(8), 3)] * 8},
            r"^partition: node 0 is masked in part; leave these out \(compressed\(\)\)$",
        ),
    ],
)
def test_objects_are_checked(objects: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        run(SHORT, **objects)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            (SHORT, nn.Linear(4, 3), (X, Y)),
            "out: is a Linear; expected the path of a folder; objects go by keyword: run",
        ),
        ((nn.Linear(4, 3), (X, Y)), "config: is a Linear; expected a Config; objects go by keyword: run"),
    ],
)
def test_objects_by_position_are_refused(given: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}"):
        run(*given)


class Uneven(Pairs):
    """Its last example is longer."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return (torch.zeros(5) if index == 89 else X[index]), int(Y[index])


class Failing(Pairs):
    """Its last example cannot be read."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == 89:
            raise OSError("one\ntwo")
        return super().__getitem__(index)


class Ending(Pairs):
    """Its last example ends the process."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return sys.exit(3) if index == 89 else super().__getitem__(index)


class Unmeasured(Pairs):
    """Its length cannot be had."""

    def __len__(self) -> int:
        raise OSError("one\ntwo")


class Nameless(Named):
    """Its examples have no column that could only be the labels."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"a": X[index], "b": int(Y[index])}


class Stream(torch_data.IterableDataset[Any]):
    """A set without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Uneven(), r"train_inputs\[89\] is \(5,\) float32, but the first is \(4,\) float32; all should be alike"),
        (Failing(), r"example 89 of the Failing cannot be read \(OSError: one\)"),
        (Ending(), r"example 89 of the Ending cannot be read \(SystemExit: 3\)"),
        (Nameless(), r"example 0 of the Nameless cannot be read \(.*data.label_column should name one of .*: a, b\)"),
        (Unmeasured(), r"train is a Unmeasured whose length cannot be had \(OSError: one\)"),
        (Stream(), "train is a Stream without a length; expected a map-style Dataset"),
    ],
)
def test_torch_sets_are_checked(data: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"^data.dataset: object:{type(data).__name__}: {words}$"):
        run(SHORT, data=data)


def test_settings_name_the_columns_of_dictionaries() -> None:
    named = SHORT.model_copy(update={"data": DataConfig(input_column="a", label_column="b")})
    expected = run(SHORT, model=make_net, data=Pairs(), graph=GRAPH)
    assert torch.equal(run(named, model=make_net, data=Nameless(), graph=GRAPH).params, expected.params)


def test_pictures_of_a_torch_set_are_bytes() -> None:
    from PIL import Image

    class Pictures(torch_data.Dataset[Any]):
        def __init__(self, mode: str) -> None:
            self.mode = mode

        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> Any:
            color = {"L": 51, "1": 1}.get(self.mode, (255, 0, 51))
            if self.mode == "PA":
                return Image.new("RGB", (3, 2), color).convert("P").convert("PA"), index % 2
            return Image.new(self.mode, (3, 2), color), index % 2

    colors = [1.0, 0.0, 0.2]
    for mode, pixel in (("L", [0.2]), ("RGB", colors), ("1", [1.0]), ("P", colors), ("PA", [*colors, 1.0])):
        loaded = load_dataset(DataConfig().holding(Pictures(mode), dataset="object:Pictures"), seed=0)
        assert loaded.train.inputs.shape[1:] == (len(pixel), 2, 3)
        torch.testing.assert_close(loaded.train.inputs[0, :, 0, 0], torch.tensor(pixel))


def test_keys_that_need_an_object_wait_for_it(tmp_path: Path) -> None:
    """The same configuration without the objects is refused before the run."""
    answers = torch.stack([Y > 0, Y > 1], 1).long()
    config = SHORT.model_copy(update={"data": DataConfig(task="multi-label")})
    result = run(config, tmp_path / "first", model=nn.Linear(4, 2), data=(X, answers), graph=GRAPH)
    assert any("exact_match" in key for key in result.summary["final"])
    each = Config(strategy="dsgd", training={"rounds": 2}, model={"init_per_node": True}, data={"task": "multi-label"})
    run(each, model=nn.Linear(4, 2), data=(X, answers), graph=GRAPH, init=tmp_path / "first")
    with pytest.raises(InputError, match="^model.init_per_node: needs a run's folder to start from; set model.init$"):
        run(each, model=nn.Linear(4, 2), data=(X, answers), graph=GRAPH)
    with pytest.raises(InputError, match="^data.task: digits has its own; multi-label is for package.module:factory$"):
        run(config)
