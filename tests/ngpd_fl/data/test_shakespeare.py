"""Speeches as sequences of characters: what is read, whose it is, and what is refused."""

from __future__ import annotations

import lzma
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ngpd_fl.config import Config, InputError
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import Dataset, TokenClassification, divide, load_dataset
from ngpd_fl.data.shakespeare import read_shakespeare, sequences
from tests.support.sequences import ROLES, write_speeches

REAL = Path(os.environ.get("NGPD_FL_DATA_DIR", "nowhere"))


def config(folder: Path, length: int = 5) -> DataConfig:
    return DataConfig(dataset="shakespeare", data_dir=folder, sequence_length=length, validation_fraction=0)


def texts_of(inputs: torch.Tensor, labels: torch.Tensor, alphabet: str) -> str:
    """Return the text that sequences are made of: the first character, then what follows each."""
    following = labels.flatten()[labels.flatten() >= 0].tolist()
    return alphabet[int(inputs[0, 0])] + "".join(alphabet[token] for token in following)


@pytest.mark.parametrize("length", [1, 4, 7, 1000])
def test_a_text_is_cut_into_sequences_and_what_follows(length: int) -> None:
    ids = np.arange(10, 33)
    inputs, targets = sequences(ids, length)
    assert inputs.shape == targets.shape == (-(-22 // length), length)
    known = targets >= 0
    assert inputs[known].tolist() == ids[:-1].tolist() and targets[known].tolist() == ids[1:].tolist()
    assert (targets[~known] == -100).all() and known[:-1].all() and known[-1].any()


@pytest.mark.parametrize("size", [0, 1])
def test_a_text_of_one_character_has_nothing_to_predict(size: int) -> None:
    inputs, targets = sequences(np.zeros(size, dtype=np.int64), 5)
    assert inputs.shape == targets.shape == (0, 5)


@pytest.mark.parametrize("packed", [False, True])
def test_the_speeches_of_a_role_are_one_text(packed: bool, tmp_path: Path) -> None:
    write_speeches(tmp_path, packed=packed)
    raw = read_shakespeare(config(tmp_path))
    texts = ["\n".join(speeches) for speeches in ROLES.values()]
    alphabet = "".join(sorted(set("".join(texts))))
    assert raw.task == TokenClassification(len(alphabet), 5) and raw.owners is not None
    for number, text in enumerate(texts):
        rows = raw.owners == number
        border = round(0.8 * len(text))
        assert texts_of(raw.train.inputs[rows], raw.train.labels[rows], alphabet) == text[:border]
    assert "".join(alphabet[token] for token in raw.test.labels.flatten().tolist() if token >= 0) == "".join(
        text[round(0.8 * len(text)) + 1 :] for text in texts
    )


def test_nodes_have_whole_roles(tmp_path: Path) -> None:
    write_speeches(tmp_path)
    data = {"dataset": "shakespeare", "data_dir": tmp_path, "sequence_length": 5, "validation_fraction": 0.2}
    settings = Config(data=data, partition="natural", topology={"name": "ring", "nodes": 3})
    division = divide(settings)
    owners = division.dataset.owners
    assert owners is not None and len(owners) == len(division.dataset.train)
    held = [set(owners[part].tolist()) for part in division.parts]
    assert sorted(map(len, held)) == [1, 1, 2] and len(set.union(*held)) == 4
    assert sorted(np.concatenate(division.parts).tolist()) == list(range(len(owners)))
    assert divide(settings.model_copy(update={"seed": 1})).parts[0].tolist() != division.parts[0].tolist()


def test_other_data_have_no_owners() -> None:
    with pytest.raises(InputError, match="natural needs the owner of each example, but digits has none"):
        divide(Config(partition="natural"))


def test_classes_of_characters_divide_nothing(tmp_path: Path) -> None:
    write_speeches(tmp_path)
    data = {"dataset": "shakespeare", "data_dir": tmp_path, "sequence_length": 5}
    with pytest.raises(InputError, match="one at each position; allowed: iid, quantity, indices, natural$"):
        divide(Config(data=data, partition="dirichlet", topology={"name": "ring", "nodes": 3}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no shakespeare.tsv or shakespeare.tsv.xz"),
        (b"a\tb\tc d e f\nhamlet\tHAM\n", "line 2 is not play, role and text with tabs between"),
        (b"a\tb\t\n", "line 1 is not play, role and text"),
        (b"", "line 1 is not play, role and text"),
        (b"a\tb\tc\n", "no role says enough"),
        (b"a\tb\t\xff\xfe\n", "cannot be read ("),
    ],
)
def test_a_file_that_cannot_be_used(content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "shakespeare.tsv").write_bytes(content)
    with pytest.raises(InputError) as raised:
        load_dataset(config(tmp_path), seed=0)
    assert words in str(raised.value) and "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)


def test_a_packed_file_that_is_damaged(tmp_path: Path) -> None:
    packed = lzma.compress(b"a\tb\tc d e f g h\n" * 50)
    (tmp_path / "shakespeare.tsv.xz").write_bytes(packed[:-20])
    with pytest.raises(InputError, match=r"shakespeare.tsv.xz cannot be read \("):
        load_dataset(config(tmp_path), seed=0)


@pytest.mark.skipif(not (REAL / "shakespeare.tsv.xz").is_file(), reason="no shakespeare.tsv.xz in NGPD_FL_DATA_DIR")
def test_the_real_file() -> None:
    data: Dataset = load_dataset(config(REAL, length=80), seed=0)
    assert data.task == TokenClassification(79, 80) and data.owners is not None
    assert len(data.owners.unique()) == 423 and len(data.train) > 30_000 and len(data.test) > 8_000
