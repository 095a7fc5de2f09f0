"""The saved models of a run, judged again: on the data set that it was trained on, or on another one that fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.composition import DTYPES, pick_device
from ngpd_fl.config import Config, DataConfig, InputError
from ngpd_fl.data import Dataset, label_counts, load_dataset, partition_labels
from ngpd_fl.evaluation import Evaluation, evaluate
from ngpd_fl.models import FlatModel, build_model
from ngpd_fl.records import AVERAGE, RunFolder
from ngpd_fl.running import torch_threads

SplitName = Literal["test", "validation"]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a run's saved models are worth on a split.

    Attributes:
        name: the run's folder.
        config: the run's configuration.
        dataset: as in ``data.dataset``.
        split: of that data set.
        images: how many of each class are in the split, ``[C]``.
        evaluation: the figures.
        own_known: whether it is known what each node was trained on; where not, ``own_accuracy`` means nothing.
    """

    name: str
    config: Config
    dataset: str
    split: SplitName
    images: NDArray[np.int64]
    evaluation: Evaluation
    own_known: bool

    def figures(self) -> dict[str, Any]:
        """Return everything for a JSON file, under the names of ``metrics.jsonl``; null for what is not known."""
        found = self.evaluation
        own = found.own_accuracy if self.own_known else None
        return {
            "run": self.name,
            "dataset": self.dataset,
            "split": self.split,
            "images": self.images.tolist(),
            "mean_accuracy": float(found.accuracy.mean()),
            "min_accuracy": float(found.accuracy.min()),
            "max_accuracy": float(found.accuracy.max()),
            "mean_own_accuracy": None if own is None else float(own.mean()),
            "averaged_model_accuracy": found.averaged_model_accuracy,
            "consensus_distance": found.consensus_distance if np.isfinite(found.consensus_distance) else None,
            "accuracy": found.accuracy.tolist(),
            "own_accuracy": None if own is None else own.tolist(),
            "class_accuracy": _null_for_nan(found.class_accuracy),
            "averaged_model_class_accuracy": _null_for_nan(found.averaged_model_class_accuracy),
        }


def judge(
    folder: RunFolder,
    *,
    split: SplitName = "test",
    dataset: str | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
) -> Judgement:
    """Judge every node's saved model and the averaged one.

    Args:
        folder: of the run.
        split: on which images.
        dataset: another data set, as in ``data.dataset``; none: the run's own.
        data_dir: where the data set lies; none: where it lay in the run.
        device: as in ``engine.device``.

    Raises:
        InputError: the models are damaged or not the run's, the data cannot be read, or they do not fit each other.
    """
    config = folder.config()
    data_config = _data_config(config.data, dataset, data_dir)
    engine = Config(engine={**config.engine.model_dump(), "device": device}).engine
    with torch_threads(engine.threads):
        models = folder.models()
        data = load_dataset(data_config, config.seed)
        images = data.split(split)
        if not len(images):
            raise InputError(f"--split {split}: {data.name} has no such images (data.validation_fraction is 0)")
        model, params = _restore(folder, config, models, data)
        place = pick_device(config.model_copy(update={"engine": engine}))
        model.module.to(place)
        counts = _label_counts(folder, config, data if data_config == config.data else None)
        shape = (len(params), data.num_classes)
        fits = counts is not None and counts.shape == shape
        found = evaluate(
            model,
            params.to(place),
            images.placed(params.dtype, place),
            counts if counts is not None and fits else np.zeros(shape, dtype=np.int64),
        )
    per_class = np.bincount(images.labels.numpy(), minlength=data.num_classes)
    return Judgement(folder.path.resolve().name, config, data.name, split, per_class, found, fits)


def _data_config(own: DataConfig, dataset: str | None, data_dir: Path | None) -> DataConfig:
    """Return which data to read: the run's own, perhaps at another place, or others cut and scaled as those were."""
    if dataset in (None, own.dataset):
        return own.model_copy(update={"data_dir": data_dir}) if data_dir is not None else own
    shared = {"image_size": own.image_size, "validation_fraction": own.validation_fraction}
    return Config(data={"dataset": dataset, "data_dir": data_dir, **shared}).data


def _restore(
    folder: RunFolder, config: Config, models: dict[str, dict[str, Tensor]], data: Dataset
) -> tuple[FlatModel, Tensor]:
    """Return the network and every node's saved parameters ``[N, P]``, in the run's type.

    The network is made for the images of ``data``: that it has the saved parameters shows that they fit.
    """
    path = folder.path / "models.safetensors"
    names = [f"node{node}" for node in range(config.topology.nodes)]
    if models.keys() != {*names, AVERAGE}:
        wanted, found = f"node0 to {names[-1]} and {AVERAGE}", ", ".join(sorted(models)[:4])
        raise InputError(f"{path}: is not of this run; it should hold the models {wanted} (it has {found}, ...)")
    shape, dtype = tuple(data.train.inputs.shape[1:]), DTYPES[config.engine.dtype]
    settings = config.model.model_copy(update={"init": None})
    model = build_model(settings, shape, data.num_classes, config.seed, dtype)
    for name, saved in models.items():
        for parameter, segment in model.segments.items():
            given = tuple(saved[parameter].shape) if parameter in saved else "missing"
            if given != tuple(segment.shape):
                raise InputError(
                    f"{path}: does not fit {data.name} (images {shape}, {data.num_classes} classes): parameter "
                    f"{name}/{parameter} is {given}, should be {tuple(segment.shape)}"
                )
        if unknown := saved.keys() - model.segments.keys():
            raise InputError(f"{path}: is not of this run; its network has no parameter {min(unknown)!r}")
    params = torch.stack([model.flatten(models[name]) for name in names])
    if params.dtype != dtype:
        raise InputError(f"{path}: is not of this run; it holds {params.dtype}, the run was in {dtype}")
    average = model.flatten(models[AVERAGE])
    tolerance = 1e-3 * float(params.abs().nan_to_num().max())  # a run on another device rounds otherwise
    if not torch.allclose(params.mean(0), average, rtol=1e-3, atol=tolerance, equal_nan=True):
        raise InputError(f"{path}: is damaged; the averaged model in it is not the mean of the nodes' models")
    return model, params


def _label_counts(folder: RunFolder, config: Config, own: Dataset | None) -> NDArray[np.int64] | None:
    """Return each node's training images per class ``[N, C]``: as recorded, or else divided again as in the run.

    None where neither can be had.
    """
    recorded = folder.label_counts()
    if recorded is not None:
        return recorded
    try:
        data = own or load_dataset(config.data, config.seed)
    except InputError:  # the run's data are gone: only another set is at hand
        return None
    labels = data.train.labels.numpy()
    parts = partition_labels(labels, config.topology.nodes, config.partition, config.seed)
    return label_counts(labels, parts, data.num_classes)


def _null_for_nan(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
