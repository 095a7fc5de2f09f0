"""Data sets of the Hugging Face hub from folders, by their columns, and divided as they are by nature."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest
import torch
from flwr_datasets.partitioner import NaturalIdPartitioner
from PIL import Image
from pyarrow import parquet

from ngpd_fl import Config, InputError, run
from ngpd_fl.cli.app import main
from ngpd_fl.config import require_trust
from ngpd_fl.config.partitions import NaturalPartition
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import divide, load_dataset
from ngpd_fl.data.hub import read_hub
from ngpd_fl.data.natural import natural_parts

SIZE, WRITERS = 60, ["anna", "bert", "carl", "dora"]

VALUES = np.random.default_rng(0)
X = VALUES.normal(size=(SIZE, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
WRITER = [WRITERS[index] for index in VALUES.integers(4, size=SIZE)]


def table(**columns: Any) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"x": X, "label": Y, "writer": WRITER, **columns})


def picture(value: int, shape: tuple[int, int] = (3, 2)) -> bytes:
    content = io.BytesIO()
    Image.new("L", shape, value).save(content, "PNG")
    return content.getvalue()


def pictures(stored: list[dict[str, Any]]) -> datasets.Dataset:
    """A table like FEMNIST's."""
    features = {
        "image": datasets.Image(),
        "writer_id": datasets.Value("string"),
        "hsf_id": datasets.Value("int64"),
        "character": datasets.ClassLabel(names=["a", "b"]),
    }
    count = len(stored)
    columns = {"image": stored, "writer_id": (WRITER * 2)[:count], "hsf_id": [0] * count}
    return datasets.Dataset.from_dict(
        columns | {"character": [index % 2 for index in range(count)]}, features=datasets.Features(features)
    )


def write_as_it_is(written: datasets.Dataset, folder: Path) -> None:
    """Write a table as a stranger may: the library itself puts the bytes of files into it."""
    folder.mkdir()
    parquet.write_table(written.data.table, folder / "train.parquet")


def config(folder: Path, **data: Any) -> DataConfig:
    return DataConfig(dataset="hf:own/letters", data_dir=folder, validation_fraction=0, **data)


NAMED = {"label_column": "label", "input_column": "x", "node_column": "writer"}


def write_dict(folder: Path) -> None:
    datasets.DatasetDict(train=table(), test=table().select(range(9))).save_to_disk(str(folder))


def write_parquet(folder: Path) -> None:
    folder.mkdir()
    (folder / "data").mkdir()
    table().select(range(40)).to_parquet(folder / "data" / "train-00000-of-00002.parquet")
    table().select(range(40, SIZE)).to_parquet(folder / "data" / "train-00001-of-00002.parquet")
    table().select(range(9)).to_parquet(folder / "data" / "test-00000-of-00001.parquet")


def write_folders(folder: Path) -> None:
    for split, rows in (("train", range(SIZE)), ("test", range(9))):
        (folder / split).mkdir(parents=True)
        table().select(rows).to_parquet(folder / split / "0.parquet")


@pytest.mark.parametrize("write", [write_dict, write_parquet, write_folders])
def test_a_folder_is_read_with_its_splits(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "letters")
    loaded = load_dataset(config(tmp_path / "letters", **NAMED), seed=0)
    assert loaded.name == "hf:own/letters" and loaded.task.num_outputs == 2
    np.testing.assert_array_equal(loaded.train.inputs, X)
    np.testing.assert_array_equal(loaded.train.labels, Y)
    np.testing.assert_array_equal(loaded.test.inputs, X[:9])
    assert loaded.owners is not None
    assert [WRITERS[owner] for owner in loaded.owners.tolist()] == WRITER


@pytest.mark.parametrize("kind", ["disk", "parquet"])
def test_without_a_test_split_every_fifth_of_a_class_is_in_it(tmp_path: Path, kind: str) -> None:
    if kind == "disk":
        table().save_to_disk(str(tmp_path / "letters"))
    else:
        (tmp_path / "letters").mkdir()
        table().to_parquet(tmp_path / "letters" / "all.parquet")
    loaded = load_dataset(config(tmp_path / "letters", **NAMED), seed=0)
    is_test = np.zeros(SIZE, dtype=bool)
    for label in (0, 1):
        is_test[np.flatnonzero(Y == label)[4::5]] = True
    np.testing.assert_array_equal(loaded.test.inputs, X[is_test])
    np.testing.assert_array_equal(loaded.train.inputs, X[~is_test])
    assert loaded.owners is not None
    assert [WRITERS[owner] for owner in loaded.owners.tolist()] == list(np.array(WRITER)[~is_test])


def test_columns_of_images_and_classes_are_found(tmp_path: Path) -> None:
    pictures([{"bytes": picture(value), "path": None} for value in range(0, 250, 10)]).save_to_disk(str(tmp_path / "a"))
    loaded = load_dataset(config(tmp_path / "a", node_column="writer_id"), seed=0)
    assert loaded.train.inputs.shape[1:] == (1, 2, 3) and loaded.task.num_outputs == 2
    inputs = torch.cat([loaded.train.inputs, loaded.test.inputs])[:, 0, 0, 0]
    torch.testing.assert_close(inputs.sort().values, torch.arange(0, 250, 10) / 255)


def test_files_and_addresses_in_a_table_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.png").write_bytes(picture(1))
    opened: list[str] = []
    monkeypatch.setattr(Image, "open", lambda file, *_: opened.append(str(file)))
    monkeypatch.setattr(datasets.Image, "decode_example", lambda self, value, **_: opened.append(str(value)))
    for number, path in enumerate((str(tmp_path / "secret.png"), "https://example.org/a.png")):
        write_as_it_is(pictures([{"bytes": None, "path": path}] * 12), tmp_path / str(number))
        with pytest.raises(
            InputError, match="column 'image' holds no bytes of image 0; files that it names are not op"
        ):
            load_dataset(config(tmp_path / str(number)), seed=0)
    listed = datasets.Features({"x": datasets.Sequence(datasets.Image()), "label": datasets.Value("int64")})
    stored = [[{"bytes": None, "path": str(tmp_path / "secret.png")}]] * 12
    write_as_it_is(datasets.Dataset.from_dict({"x": stored, "label": [0, 1] * 6}, features=listed), tmp_path / "list")
    with pytest.raises(InputError, match="column 'x' holds List; expected numbers, or images as inputs"):
        load_dataset(config(tmp_path / "list"), seed=0)
    assert opened == []


def test_images_are_bounded_and_alike(tmp_path: Path) -> None:
    for name, last, words in (
        (
            "large",
            picture(0, (1025, 1)),
            r"image 11 of column 'image' cannot be read \(ValueError: 1025 x 1 pixels; allowed",
        ),
        ("other", picture(0, (4, 4)), r"train_inputs\[11\] is \(1, 4, 4\) uint8, but the first is \(1, 2, 3\) uint8"),
        ("none", b"no image", "image 11 of column 'image' cannot be read"),
    ):
        stored = [{"bytes": picture(0), "path": None}] * 11 + [{"bytes": last, "path": None}]
        pictures(stored).save_to_disk(str(tmp_path / name))
        with pytest.raises(InputError, match=words):
            load_dataset(config(tmp_path / name), seed=0)


@pytest.mark.parametrize(
    ("columns", "keys", "words"),
    [
        ({}, {}, "data.input_column should name one of its columns: x, label, writer"),
        ({}, {"input_column": "y"}, r"there is no column 'y' \(data.input_column\); its columns are x, label, writer"),
        ({}, NAMED | {"node_column": "who"}, r"there is no column 'who' \(data.node_column\)"),
        ({}, NAMED | {"label_column": "writer"}, r"column 'writer' holds texts; table.class_encode_column\('writer'\)"),
        (
            {},
            NAMED | {"node_column": "x"},
            "column 'x' holds NoneType; an owner should be a text or a whole",
        ),
        ({"writer": [None, *WRITER[1:]]}, NAMED, "column 'writer' holds NoneType, str; an owner should be"),
        ({"x": [[1.0], [1.0, 2.0]] * 30}, NAMED, "x"),
        (
            {"label": [None, *[1] * (SIZE - 1)]},
            NAMED,
            "column 'label' holds values of several shapes or none",
        ),
        ({"label": [None] * SIZE}, NAMED, "column 'label' holds null; expected numbers"),
        ({"x": [None, *[[1.0, 2.0]] * (SIZE - 1)]}, NAMED, r"column 'x' (cannot be read \(|holds values of several)"),
        ({"label": [[1], [1, 2]] * (SIZE // 2)}, NAMED, "column 'label' holds values of several shapes or none"),
        ({"label": [-1] * SIZE}, NAMED, "train_labels go down to -1; expected classes from 0"),
    ],
)
def test_what_is_wrong_with_the_columns(
    tmp_path: Path, columns: dict[str, Any], keys: dict[str, Any], words: str
) -> None:
    table(**columns).save_to_disk(str(tmp_path / "a"))
    with pytest.raises(InputError, match=rf"^data.dataset: hf:own/letters: .*{words}") as raised:
        load_dataset(config(tmp_path / "a", **keys), seed=0)
    assert "\n" not in str(raised.value)


def damaged(folder: Path) -> None:
    write_dict(folder)
    (folder / "train" / "state.json").write_text("{")


def damaged_table(folder: Path) -> None:
    write_folders(folder)
    (folder / "train" / "0.parquet").write_bytes(b"PAR1")


@pytest.mark.parametrize("make", [damaged, damaged_table])
def test_damaged_folders(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a")
    with pytest.raises(InputError, match=rf"^data.data_dir: {tmp_path}/a cannot be read \(") as raised:
        load_dataset(config(tmp_path / "a"), seed=0)
    assert "\n" not in str(raised.value)


def test_a_folder_with_the_name_of_a_table_holds_its_parts(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").mkdir()
    for number, rows in enumerate((range(40), range(40, SIZE))):
        table().select(rows).to_parquet(tmp_path / "train.parquet" / f"part-{number}.parquet")
    read = read_hub(config(tmp_path, **NAMED))
    assert len(read.train) + len(read.test) == SIZE


def test_a_small_file_of_a_large_table_is_refused(tmp_path: Path) -> None:
    """One text of 64 KiB, named by each of 100,000 rows: 6.1 GiB in 300 KiB."""
    texts = pyarrow.DictionaryArray.from_arrays(np.zeros(100_000, np.int32), ["a" * (1 << 16)])
    parquet.write_table(pyarrow.table({"x": texts, "label": np.zeros(100_000, int)}), tmp_path / "train.parquet")
    assert (tmp_path / "train.parquet").stat().st_size < 1 << 20
    words = rf"^data.data_dir: {tmp_path}/train.parquet: its tables are larger than 1024 MiB$"
    with pytest.raises(InputError, match=words):
        read_hub(config(tmp_path))


def test_a_table_in_memory_takes_about_its_own_size(tmp_path: Path) -> None:
    """The library's fingerprint of a table in memory takes 45 times as much."""
    rows = 1 << 20
    parquet.write_table(pyarrow.table({"x": np.zeros(rows), "label": np.zeros(rows, int)}), tmp_path / "train.parquet")
    code = (
        "import resource, sys, datasets, ngpd_fl.data.custom; from pathlib import Path; from ngpd_fl.data import hub\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "hub._read_folder(Path(sys.argv[1])); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 10 * 16 * rows / 1024


def test_folders_without_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^data.data_dir: {tmp_path}/nowhere is no folder$"):
        load_dataset(config(tmp_path / "nowhere"), seed=0)
    with pytest.raises(InputError, match="holds neither what save_to_disk writes nor .parquet files$"):
        load_dataset(config(tmp_path), seed=0)
    with pytest.raises(InputError, match=r"^data.data_dir: hf:a needs the folder .*, or data.download=true$"):
        Config(data={"dataset": "hf:a"})
    for name in ("hf:", "hf:../../a", "hf:a/b/c", "hf:https://a"):
        with pytest.raises(InputError, match="is not known; allowed: digits"):
            Config(data={"dataset": name, "download": True})


def test_a_recorded_configuration_downloads_nothing_without_trust(tmp_path: Path) -> None:
    recorded = Config(data={"dataset": "hf:evil", "download": True})
    untrusted = require_trust(recorded, tmp_path, trust_code=False)
    with pytest.raises(InputError, match=r"^data.data_dir: hf:evil needs the folder that holds it"):
        load_dataset(untrusted.data, seed=0)
    assert require_trust(recorded, tmp_path, trust_code=True).data.download


def test_download_goes_through_flower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes a folder below the working folder as it takes one of the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_parquet(tmp_path / "letters")
    downloaded = load_dataset(DataConfig(dataset="hf:letters", download=True, validation_fraction=0, **NAMED), seed=0)
    from_folder = load_dataset(config(tmp_path / "letters", **NAMED), seed=0)
    for one, other in ((downloaded.train, from_folder.train), (downloaded.test, from_folder.test)):
        assert torch.equal(one.inputs, other.inputs) and torch.equal(one.labels, other.labels)


def natural(folder: Path, nodes: int, **partition: Any) -> Config:
    return Config(
        data={"dataset": "hf:own/letters", "data_dir": folder, **NAMED},
        topology={"name": "path", "nodes": nodes},
        partition={"name": "natural", **partition},
        model="softmax",
        strategy="dsgd",
        training={"rounds": 1},
    )


def test_the_natural_partition_is_that_of_flower(tmp_path: Path) -> None:
    partitioner = NaturalIdPartitioner("writer")
    partitioner.dataset = table(row=list(range(SIZE)))
    owners = torch.from_numpy(np.unique(WRITER, return_inverse=True)[1].astype(np.int64)).numpy()
    parts = natural_parts(owners, 4, NaturalPartition(), seed=0)
    by_name = {}
    for number in range(4):
        part = partitioner.load_partition(number)
        by_name[part["writer"][0]] = sorted(part["row"])
    assert [part.tolist() for part in parts] == [by_name[name] for name in WRITERS]


def test_owners_are_dealt_out_whole() -> None:
    owners = np.repeat(np.arange(11), np.arange(1, 12))
    for each, count in ((None, 11), (2, 8)):
        parts = natural_parts(owners, 4, NaturalPartition(owners_per_node=each), seed=3)
        groups = [set(owners[part].tolist()) for part in parts]
        assert sum(map(len, groups)) == len(set.union(*groups)) == count
        assert sum(map(len, parts)) == sum(owner + 1 for owner in set.union(*groups))
        assert {len(group) for group in groups} == ({2} if each else {2, 3})
    one, same, other = (natural_parts(owners, 4, NaturalPartition(), seed)[0].tolist() for seed in (3, 3, 4))
    assert one == same != other


def test_a_run_on_natural_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dict(tmp_path / "letters")
    configured = natural(tmp_path / "letters", 4)
    partition = divide(configured)
    for node, part in enumerate(partition.parts):
        own = {tuple(row) for row in partition.dataset.train.inputs[part].tolist()}
        assert own and own <= {
            tuple(row.tolist()) for row, writer in zip(X, WRITER, strict=True) if writer == WRITERS[node]
        }
    result = run(configured, tmp_path / "run")
    assert result.summary["status"] == "finished"
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert "hf:own/letters" in capsys.readouterr().out


def test_too_few_owners(tmp_path: Path) -> None:
    write_dict(tmp_path / "letters")
    with pytest.raises(InputError, match="^topology.nodes: 5 nodes, but the training examples have 4 owners$"):
        divide(natural(tmp_path / "letters", 5))
    words = re.escape("topology.nodes: 3 nodes with 2 owners each (partition.owners_per_node), but the")
    with pytest.raises(InputError, match=f"^{words}"):
        divide(natural(tmp_path / "letters", 3, owners_per_node=2))


def test_data_without_owners() -> None:
    with pytest.raises(InputError, match="^partition.name: natural needs the owner of each example, but digits has"):
        divide(Config(partition="natural"))
