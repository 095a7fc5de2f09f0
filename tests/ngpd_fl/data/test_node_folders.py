"""Data that lie at their nodes: an export is the split it came from, figures are the nodes' own, errors one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score

from ngpd_fl import Config, InputError, run
from ngpd_fl.data import Split, divide, export_nodes
from ngpd_fl.training import compose
from tests.support.node_folders import describe, examples, make_nodes, only, write

FLOAT64 = {"dtype": "float64", "device": "cpu"}


def on_folders(root: Path, **sections: Any) -> Config:
    data = {"dataset": "node-folders", "data_dir": root, "image_size": 4, **sections.pop("data", {})}
    values: dict[str, Any] = {"topology": {"nodes": 4}, "training": {"rounds": 2, "local_steps": 3}, "engine": FLOAT64}
    return Config(data=data, **values | sections)


EXPORTED: list[dict[str, Any]] = [
    {"strategy": "ngpd", "partition": {"name": "dirichlet", "alpha": 0.3}, "data": {"crop": 1, "flip": True}},
    {"strategy": "dsgd", "seed": 5, "data": {"validation_fraction": 0.3}},
    {"strategy": "ngpd", "data": {"dataset": "diabetes"}, "model": "softmax"},
]


@pytest.mark.parametrize("sections", EXPORTED)
def test_a_run_on_an_export_is_the_run_on_the_split(sections: dict[str, Any], tmp_path: Path) -> None:
    values = {"topology": {"nodes": 4}, "training": {"rounds": 3, "local_steps": 5}, "engine": FLOAT64, **sections}
    config = Config(**values)
    left_out = export_nodes(config, tmp_path / "nodes")
    whole = divide(config)
    assert left_out == len(whole.dataset.validation) > 0
    moved = {k: v for k, v in values.items() if k != "partition"}
    data = {**sections["data"], "dataset": "node-folders", "data_dir": tmp_path / "nodes", "validation_fraction": 0}
    found, expected = run(Config(**moved | {"data": data})), run(config)
    assert torch.equal(found.params, expected.params)
    assert found.summary["final"] == expected.summary["final"]
    assert found.summary["evaluated_on"] == expected.summary["evaluated_on"] == "common"
    apart = divide(found.config)
    np.testing.assert_array_equal(apart.counts, whole.counts)
    for ours, theirs in zip(apart.parts, whole.parts, strict=True):
        assert torch.equal(apart.dataset.train.inputs[ours], whole.dataset.train.inputs[theirs])


def test_folders_may_be_called_by_the_graphs_labels(tmp_path: Path) -> None:
    rooms = nx.cycle_graph(["kitchen", "attic", "node10", "node9"])  # in order: attic, kitchen, node9, node10
    by_number, by_label = make_nodes(tmp_path / "numbers"), make_nodes(tmp_path / "labels")
    for node, name in enumerate(["attic", "kitchen", "node9", "node10"]):
        (by_label / f"node{node}").rename(by_label / name)
    found, expected = (divide(on_folders(root, topology=rooms)) for root in (by_label, by_number))
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert torch.equal(found.dataset.train.inputs, expected.dataset.train.inputs)
    (by_label / "attic").rename(by_label / "cellar")
    with pytest.raises(InputError, match="4 nodes have node0 to node3, or those of their labels: attic, kitchen"):
        divide(on_folders(by_label, topology=rooms))


def test_a_recorded_run_on_folders_runs_again(tmp_path: Path) -> None:
    config = on_folders(make_nodes(tmp_path / "nodes"))
    result = run(config, tmp_path / "out")
    again = Config.load(tmp_path / "out" / "config.toml")
    assert again == config and again.partition.name == "given"
    assert torch.equal(run(again).params, result.params)


def test_each_model_is_judged_on_its_nodes_own_images(tmp_path: Path) -> None:
    result = run(on_folders(make_nodes(tmp_path)))
    last, summary = result.metrics[-1].model_dump(), result.summary
    tests = [examples(8 + node, 100 + node, 2 if node == 1 else 3) for node in range(4)]

    def predictions(params: torch.Tensor) -> list[Any]:
        return [result.model(params, torch.tensor(x / 255).float().double()).argmax(1).numpy() for x, _ in tests]

    own = [accuracy_score(tests[node][1], predictions(result.params[node])[node]) for node in range(4)]
    assert last["accuracy"] == pytest.approx(own)
    assert (last["mean_accuracy"], last["min_accuracy"]) == pytest.approx((np.mean(own), min(own)))
    averaged = [accuracy_score(y, p) for (_, y), p in zip(tests, predictions(result.params.mean(0)), strict=True)]
    assert last["averaged_model_accuracy"] == pytest.approx(np.mean(averaged))
    light = [
        np.mean(predictions(result.params[node])[node][tests[node][1] == 2] == 2) for node in (0, 2, 3)
    ]  # node 1 has no such test images
    assert last["class_accuracy"][2] == pytest.approx(np.mean(light))
    assert summary["evaluated_on"] == "own"


def test_a_test_set_for_all_comes_before_the_nodes_own(tmp_path: Path) -> None:
    make_nodes(tmp_path)
    own = compose(on_folders(tmp_path))
    write(tmp_path / "test.npz", *examples(50, 99))
    common = compose(on_folders(tmp_path))
    assert isinstance(common.evaluated, Split) and len(common.evaluated) == 50 and common.evaluated_on == "common"
    assert isinstance(own.evaluated, dict) and [len(split) for split in own.evaluated.values()] == [8, 9, 10, 11]
    assert torch.equal(own.minibatches.split.inputs, common.minibatches.split.inputs)


def test_each_node_holds_out_its_own_validation_images_and_may_be_judged_on_them(tmp_path: Path) -> None:
    make_nodes(tmp_path, tests=False)
    write(tmp_path / "node2" / "test.npz", *examples(30, 7))
    division = divide(on_folders(tmp_path, data={"validation_fraction": 0.25}))
    assert [len(part) for part in division.parts] == [15, 16, 16, 17]
    assert isinstance(division.evaluated, dict)
    assert {node: len(split) for node, split in division.evaluated.items()} == {0: 5, 1: 5, 2: 30, 3: 6}
    inputs, labels = examples(20, 0)
    seen = torch.cat([division.dataset.train.inputs[division.parts[0]], division.evaluated[0].inputs])
    assert sorted(seen.flatten(1).tolist()) == sorted(torch.from_numpy(inputs / 255).float().flatten(1).tolist())
    settings = on_folders(tmp_path, data={"validation_fraction": 0.25}, evaluation={"split": "validation"})
    chosen = divide(settings).evaluated
    assert isinstance(chosen, dict) and [len(split) for split in chosen.values()] == [5, 5, 6, 6]


def test_only_the_folders_of_hosted_nodes_are_needed_and_give_the_same(tmp_path: Path) -> None:
    make_nodes(tmp_path / "all")
    everything = divide(on_folders(tmp_path / "all"))
    here = only(tmp_path / "all", range(2, 3), tmp_path / "device")
    mine = divide(on_folders(here), hosted=[2])
    assert [len(part) for part in mine.parts] == [0, 0, len(everything.parts[2]), 0]
    assert torch.equal(mine.dataset.train.inputs, everything.dataset.train.inputs[everything.parts[2]])
    assert isinstance(mine.evaluated, dict) and isinstance(everything.evaluated, dict) and mine.evaluated.keys() == {2}
    assert torch.equal(mine.evaluated[2].inputs, everything.evaluated[2].inputs)
    np.testing.assert_array_equal(mine.counts[2], everything.counts[2])
    assert mine.counts.sum() == everything.counts[2].sum() and mine.origin == everything.origin != ""


def paint(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 7), (level, 0, 0)).save(path)


def test_images_get_the_labels_and_the_scale_of_dataset_toml(tmp_path: Path) -> None:
    """Not those of their folder alone: node 0 has no "a", and the classes are not in alphabetical order."""
    describe(tmp_path, 'classes = ["c", "b", "a"]\nmean = [0.5, 0.0, 0.0]\nstd = [0.25, 1.0, 1.0]\n')
    for node, names in enumerate(("bc", "ab")):
        for name in names:
            paint(tmp_path / f"node{node}" / "train" / name / "1.png", 51 * "cba".index(name))
    settings = on_folders(tmp_path, topology={"name": "path", "nodes": 2}, data={"validation_fraction": 0})
    paint(tmp_path / "test" / "a" / "1.png", 255)
    division = divide(settings)
    train = division.dataset.train
    assert train.labels.tolist() == [1, 0, 2, 1] and train.inputs.shape == (4, 3, 4, 4)
    torch.testing.assert_close(train.inputs[:, 0, 0, 0], (torch.tensor([0.2, 0.0, 0.4, 0.2]) - 0.5) / 0.25)
    assert division.counts.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3, "each folder has its own cache"


def test_inputs_keep_their_digits_until_they_are_standardized(tmp_path: Path) -> None:
    """Time stamps of one second each: float32 knows one in 128."""
    describe(tmp_path, 'classes = ["a", "b"]\nmean = [1700000049.5]\nstd = [28.9]\n')
    for node in range(2):
        stamps = 1_700_000_000.0 + np.arange(100)[:, None]
        write(tmp_path / f"node{node}" / "train.npz", stamps, np.arange(100) % 2)
    for dtype, kind in (("float32", torch.float32), ("float64", torch.float64)):
        settings = on_folders(
            tmp_path, topology={"name": "path", "nodes": 2}, engine={"dtype": dtype}, data={"validation_fraction": 0.1}
        )
        train = divide(settings).dataset.train.inputs
        assert train.dtype == kind and len(train[:90].unique()) == 90
        assert set(train[:90].double().mul(28.9).add(49.5).round().flatten().tolist()) <= set(range(100))


def test_an_export_of_inputs_in_float64_is_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "stamps_of_mine.py").write_text(
        "import numpy as np\n"
        "def make():\n"
        "    inputs = np.stack([1.7e9 + np.arange(200.0), np.linspace(0, 1, 200)], 1)\n"
        "    return inputs, 1e9 + np.sqrt(np.arange(200)), inputs, 1e9 + np.sqrt(np.arange(200))\n"
    )
    for dtype in ("float32", "float64"):
        values: dict[str, Any] = {"topology": {"nodes": 4}, "engine": {"dtype": dtype}, "model": "softmax"}
        config = Config(data={"dataset": "stamps_of_mine:make"}, **values)
        export_nodes(config, tmp_path / dtype)
        moved = {"dataset": "node-folders", "data_dir": tmp_path / dtype, "validation_fraction": 0}
        whole, apart = divide(config), divide(Config(data=moved, **values))
        for ours, theirs in zip(apart.parts, whole.parts, strict=True):
            for name in ("inputs", "labels"):
                one, other = getattr(apart.dataset.train, name)[ours], getattr(whole.dataset.train, name)[theirs]
                assert one.dtype == getattr(torch, dtype) and torch.equal(one, other)
        assert len(whole.dataset.train.inputs[:, 0].unique()) == 180


def test_nodes_whose_pictures_differ_in_depth_are_refused(tmp_path: Path) -> None:
    describe(tmp_path, 'classes = ["a", "b"]\n')
    for node, kind in enumerate((np.uint16, np.float32)):
        for name in "ab":
            folder = tmp_path / f"node{node}" / "train" / name
            folder.mkdir(parents=True)
            Image.fromarray(np.full((4, 4), 3, dtype=kind)).save(folder / "1.tif")
    settings = on_folders(tmp_path, topology={"name": "path", "nodes": 2}, data={"validation_fraction": 0.5})
    with pytest.raises(
        InputError, match=r"differ in their depth \(.*node0 16 bits, .*node1 signed, 32 bits or floating"
    ):
        divide(settings)
    for name in "ab":
        Image.fromarray(np.full((4, 4), 6, dtype=np.uint16)).save(tmp_path / "node1" / "train" / name / "1.tif")
    found = divide(settings).dataset.train.inputs
    assert found[:, 0, 0, 0].tolist() == pytest.approx([3 / 65535, 6 / 65535])


def wrong_class(root: Path) -> None:
    write(root / "node1" / "train.npz", *examples(20, 0, classes=4))


def from_one(root: Path) -> None:
    inputs, labels = examples(20, 0)
    write(root / "node1" / "train.npz", inputs, labels + 1)


def floating_classes(root: Path) -> None:
    inputs, labels = examples(20, 0)
    write(root / "node1" / "train.npz", inputs, labels.astype(float))


def wrong_shape(root: Path) -> None:
    write(root / "node1" / "train.npz", np.zeros((20, 1, 5, 5), dtype=np.uint8), np.zeros(20, dtype=np.int64))


def unreadable(root: Path) -> None:
    (root / "node1" / "train.npz").write_bytes(b"PK nothing")


def pickled(root: Path) -> None:
    write(root / "node1" / "train.npz", np.array([{}], dtype=object), np.zeros(1, dtype=np.int64))


def emptied(root: Path) -> None:
    (root / "node1" / "train.npz").unlink()


def pictured(root: Path, name: str = "dark", image: bytes = b"") -> None:
    emptied(root)
    (root / "node1" / "train" / name).mkdir(parents=True)
    if image:
        (root / "node1" / "train" / name / "1.png").write_bytes(image)


def white_images(root: Path) -> None:
    describe(root, 'classes = ["dark", "grey", "light"]\nwhite = 16')
    pictured(root, image=b"x")


def one_image(root: Path) -> None:
    write(root / "node1" / "train.npz", *examples(1, 0))


def both(root: Path) -> None:
    (root / "node1" / "train").mkdir()


BAD: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: (root / "dataset.toml").unlink(), "dataset.toml: cannot be read (No such file or directory)"),
    (lambda root: describe(root, "classes = ["), "dataset.toml: not valid TOML"),
    (lambda root: describe(root, "classes = []"), "dataset.toml: classes: each needs a name of its own"),
    (lambda root: describe(root, 'classes = ["a", "a"]'), "dataset.toml: classes: each needs a name of its own"),
    (lambda root: describe(root, ""), "dataset.toml: needs either classes, labels or targets"),
    (
        lambda root: describe(root, 'names = ["a"]'),
        "names: unknown key; allowed: classes, positions, labels, targets, white, mean",
    ),
    (lambda root: describe(root, 'classes = ["a"]\nstd = [0.0]'), "std.0: input should be greater than 0"),
    (lambda root: describe(root, 'classes = ["a"]\nmean = [0, 0]'), "std: needs as many values as mean (2; got 1)"),
    (
        lambda root: describe(root, 'classes = ["a", "b", "c"]\nmean = [0, 0]\nstd = [1, 1]'),
        "node0/train has inputs of shape (1, 4, 4); dataset.toml has 2 mean values, allowed: 1 or 1",
    ),
    (
        lambda root: describe(root, "targets = {mean = [0.0], std = [1.0]}"),
        "node0/train has classes, but dataset.toml has targets",
    ),
    (lambda root: (root / "node1").rename(root / "mine"), "holds no folder node1; 4 nodes have node0 to node3"),
    (lambda root: (root / "node4").mkdir(), "holds node4, but 4 nodes have node0 to node3"),
    (emptied, "node1 holds no training data; expected train/CLASS/* or train.npz"),
    (wrong_class, "node1/train has class 3; dataset.toml has 3, allowed: 0 to 2"),
    (from_one, "node1/train has class 3; dataset.toml has 3, allowed: 0 to 2, not from 1"),
    (floating_classes, "node1/train has real-valued targets, but dataset.toml has classes, which are integers"),
    (wrong_shape, "inputs are uint8 of shape (1, 4, 4) but"),
    (unreadable, "node1/train.npz cannot be read"),
    (pickled, "node1/train.npz cannot be read (Object arrays cannot be loaded"),
    (lambda root: np.savez(root / "node1" / "train.npz", x=1), "node1/train.npz holds x; expected the arrays inputs"),
    (pictured, "node1/train does not hold images as CLASS/IMAGE (Found no valid file for the classes dark"),
    (lambda root: pictured(root, image=b"no image"), "node1/train/dark/1.png cannot be read"),
    (lambda root: pictured(root, "pink", b"x"), "node1/train/pink is a class that dataset.toml does not have; allowed"),
    (white_images, "dataset.toml: white must be 255 for images; they lie in"),
    (both, "node1 holds both train.npz and train/; allowed: one of them"),
    (one_image, "1 training examples are 0; both the validation and the training examples need at least one (node1)"),
]


@pytest.mark.parametrize(("spoil", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_what_does_not_fit_is_one_line(spoil: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    make_nodes(tmp_path)
    divide(on_folders(tmp_path))
    spoil(tmp_path)
    with pytest.raises(InputError, match=re.escape(text)) as raised:
        divide(on_folders(tmp_path))
    assert "\n" not in str(raised.value) and re.match(r"(data|topology)\.\w+: ", str(raised.value))


def test_a_model_that_can_be_judged_on_nothing_is_refused(tmp_path: Path) -> None:
    make_nodes(tmp_path, tests=False)
    with pytest.raises(InputError, match="node0 has no test data, and there are none for all"):
        divide(on_folders(tmp_path, data={"validation_fraction": 0}))


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"partition": "iid"}, "partition.name: node-folders is divided by its folders; allowed: given (got iid)"),
        ({"data": {"rotation": 90.0}}, "data.rotation: node-folders is taken as it lies; unset it (got 90.0)"),
        ({"data": {"placement": "alike"}}, "data.placement: node-folders is taken as it lies; unset it (got alike)"),
        ({"data": {"noise": 1.0}}, "data.noise: node-folders is taken as it lies; unset it (got 1.0)"),
    ],
)
def test_nothing_is_divided_or_skewed(sections: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(text)}$"):
        on_folders(Path("nowhere"), **sections)


def test_given_goes_with_folders_only() -> None:
    with pytest.raises(InputError, match="partition.name: given needs data.dataset = node-folders .got digits.$"):
        Config(partition="given")


def test_an_export_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(InputError, match="full is not empty; nothing is overwritten"):
        export_nodes(Config(), tmp_path / "full")
    with pytest.raises(InputError, match="data.noise: an export has the images as they are; allowed: 0"):
        export_nodes(Config(data={"noise": 1.0}), tmp_path / "new")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(InputError, match="new cannot be written .No space left on device."):
        export_nodes(Config(), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
