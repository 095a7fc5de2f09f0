"""Shakespeare's plays as character sequences: the next character at each position, and the role that speaks.

Caldas et al., "LEAF: A benchmark for federated settings", arXiv 1812.01097, where a client is a speaking role, too. A
role's first 80 % of characters are for training, the rest for testing. LEAF predicts one character after each 80; here
every position has a target, as is usual for language models.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.config.checks import data_folder
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.task import IGNORE_INDEX, TokenClassification

FILES = ("shakespeare.tsv", "shakespeare.tsv.xz")

_TRAIN_SHARE = 0.8


def read_shakespeare(config: DataConfig) -> RawDataset:
    """Return sequences of ``config.sequence_length`` characters; their owners are the roles.

    The folder holds ``shakespeare.tsv``, or the same file packed by xz: a line a speech, ``play <tab> role <tab> text``
    in UTF-8. The speeches of a role follow each other, a line feed between two. Token ids number the file's characters
    in their order. A sequence that a role's text does not fill ends in padding.

    Raises:
        InputError: the file is missing or not of this form; one line says which line is not.
    """
    path = _file(config)
    texts = list(_texts(path).values())
    codes = [np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32) for text in texts]
    alphabet, length = np.unique(np.concatenate(codes)), config.sequence_length
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "test": []}
    for of_role in codes:
        ids = np.searchsorted(alphabet, of_role)
        border = round(_TRAIN_SHARE * len(ids))
        parts["train"].append(sequences(ids[:border], length))
        parts["test"].append(sequences(ids[border:], length))
    if not all(any(len(inputs) for inputs, _ in of_split) for of_split in parts.values()):
        raise InputError(f"data.data_dir: {path}: no role says enough for a sequence to train on and one to test")
    sizes = [len(inputs) for inputs, _ in parts["train"]]
    train, test = (Split(*map(torch.cat, zip(*of_split, strict=True))) for of_split in parts.values())
    return RawDataset(
        train=train,
        test=test,
        task=TokenClassification(len(alphabet), length),
        white=1,
        mean=torch.zeros(1, dtype=torch.float64),
        std=torch.ones(1, dtype=torch.float64),
        owners=torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)),
    )


def sequences(ids: NDArray[np.int64], length: int) -> tuple[Tensor, Tensor]:
    """Return a text cut into sequences: inputs and the ids that follow each of them, int64 ``[M, length]``."""
    count = max(0, -((1 - len(ids)) // length))  # every id but the last has one that follows
    inputs = np.zeros(count * length, dtype=np.int64)
    targets = np.full(count * length, IGNORE_INDEX, dtype=np.int64)
    if count:
        inputs[: len(ids) - 1], targets[: len(ids) - 1] = ids[:-1], ids[1:]
    return torch.from_numpy(inputs.reshape(count, length)), torch.from_numpy(targets.reshape(count, length))


def _file(config: DataConfig) -> Path:
    folder = data_folder(config)
    assert folder is not None
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"data.data_dir: {folder} holds no {' or '.join(FILES)}")


def _texts(path: Path) -> dict[tuple[str, str], str]:
    """Return the text of each role, by play and role, in the order in which they first speak."""
    try:
        content = path.read_bytes()
        text = (lzma.decompress(content) if path.suffix == ".xz" else content).decode("utf-8")
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InputError(f"data.data_dir: {path} cannot be read ({' '.join(str(error).split())})") from error
    speeches: dict[tuple[str, str], list[str]] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        columns = line.split("\t")
        if len(columns) != 3 or not all(columns):
            raise InputError(f"data.data_dir: {path}: line {number} is not play, role and text with tabs between")
        speeches.setdefault((columns[0], columns[1]), []).append(columns[2])
    return {role: "\n".join(lines) for role, lines in speeches.items()}
