"""Export of the partition of a run as the folders of ``node-folders``, to be copied to devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from ngpd_fl.config import Config
from ngpd_fl.config.errors import InputError
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.description import FILE, Description, Targets
from ngpd_fl.data.load import learned, read_raw
from ngpd_fl.data.partition import deal
from ngpd_fl.data.task import MultiLabelClassification, Regression, Task, TokenClassification
from ngpd_fl.data.validation import hold_out
from ngpd_fl.records.files import atomic_write


def export_nodes(config: Config, path: Path) -> int:
    """Write the training examples of each node of a run, the common test examples, and the shared ``dataset.toml``.

    A run on the folders takes the same steps as one on the data set if it holds out no validation examples again
    (``data.validation_fraction = 0``): those that ``config`` keeps apart are not written.

    Args:
        config: the run's configuration.
        path: the folder; it must be empty or not there. It is written whole or not at all.

    Returns:
        How many validation examples were left out.

    Raises:
        InputError: the data cannot be read or partitioned, or the folder cannot be written.
    """
    for key in ("rotation", "noise"):
        if getattr(config.data, key):
            raise InputError(f"data.{key}: an export has the images as they are; allowed: 0")
    raw = read_raw(config.data)
    if raw.fields is not None:
        raise InputError(f"export: {config.data.dataset} has several inputs; node folders hold one")
    labels, _, task = learned(raw, raw)
    kept, held = hold_out(task.strata(labels).numpy(), config.data.validation_fraction, config.seed)
    rows = torch.from_numpy(kept)
    owners = None if raw.owners is None else raw.owners[rows]
    parts = deal(labels[rows], task, config, raw.train_index_of(rows), owners)
    try:
        if path.exists() and any(path.iterdir()):
            raise InputError(f"export: {path} is not empty; nothing is overwritten, name another folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as aside:
            aside.mkdir()
            described = _describe(raw, task).model_dump(exclude_none=True)
            (aside / FILE).write_text(tomli_w.dumps(described), encoding="utf-8")
            _write(aside / "test.npz", raw.test, np.arange(len(raw.test)))
            for node, part in enumerate(parts):
                (aside / f"node{node}").mkdir()
                _write(aside / f"node{node}" / "train.npz", raw.train, kept[part])
    except OSError as error:
        raise InputError(f"export: {path} cannot be written ({error.strerror or error})") from error
    return len(held)


def _describe(raw: RawDataset, task: Task) -> Description:
    learned: dict[str, Any]
    if isinstance(task, Regression):
        targets = Targets(mean=task.mean.tolist(), std=task.std.tolist(), edges=task.edges.tolist())
        learned = {"targets": targets}
    else:
        key = "labels" if isinstance(task, MultiLabelClassification) else "classes"
        learned = {key: tuple(map(str, range(task.num_groups)))}
    if isinstance(task, TokenClassification):
        learned["positions"] = task.length
    mean, std = (tuple(values.tolist()) for values in (raw.mean, raw.std))
    return Description(**learned, white=raw.white if raw.white > 1 else 255, mean=mean, std=std)


def _write(path: Path, split: Split, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    np.savez_compressed(path, inputs=split.inputs[rows].numpy(), labels=split.labels[rows].numpy())
