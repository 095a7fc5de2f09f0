"""The saved models of a run, evaluated again: on the data set that it was trained on, or on another one that fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.config import Config, DataConfig, InputError, require_trust
from ngpd_fl.config.sections import NODE_FOLDERS
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.data import Dataset, Split, divide, load_dataset
from ngpd_fl.evaluation import evaluate
from ngpd_fl.models import FlatModel, build_model
from ngpd_fl.records import AVERAGE, RMSE, Evaluation, RunFolder, null_if_not_finite
from ngpd_fl.training import DTYPES, Job, pick_device

SplitName = Literal["test", "validation"]


@dataclass(frozen=True, eq=False)
class SavedModelEvaluation:
    """What a run's saved models are worth on a split.

    Attributes:
        name: the run's folder.
        config: the run's configuration.
        dataset: as in ``data.dataset``.
        split: of that data set.
        sizes: how many examples of each group (a class, or a bin of targets) are in the split, ``[G]``.
        evaluation: the figures.
        evaluated_on: whether models were evaluated on ``"common"`` examples or each on its node's ``"own"``.
        own_known: whether it is known what each node was trained on; where not, ``evaluation.own`` means nothing.
    """

    name: str
    config: Config
    dataset: str
    split: SplitName
    sizes: NDArray[np.int64]
    evaluation: Evaluation
    evaluated_on: Literal["common", "own"]
    own_known: bool

    def figures(self) -> dict[str, Any]:
        """Return everything for a JSON file, under the names of ``metrics.jsonl``; null for what is not known."""
        measure, values = self.evaluation.measure, self.evaluation.record()
        if not self.own_known:
            values |= {f"own_{measure.key}": None, f"mean_own_{measure.key}": None}
        return {
            "run": self.name,
            "dataset": self.dataset,
            "split": self.split,
            "evaluated_on": self.evaluated_on,
            measure.examples: self.sizes.tolist(),
            **{key: null_if_not_finite(value) for key, value in values.items()},
        }


def evaluate_saved(
    folder: RunFolder,
    *,
    split: SplitName = "test",
    dataset: str | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    trust_code: bool = False,
) -> SavedModelEvaluation:
    """Evaluate every node's saved model and the averaged one.

    Args:
        folder: of the run.
        split: on which images.
        dataset: another data set, as in ``data.dataset``; none: the run's own.
        data_dir: where the data set lies; none: where it lay in the run.
        device: as in ``engine.device``.
        trust_code: whether code that the recorded configuration names (``package.module:name``) may run.

    Raises:
        InputError: the models are damaged or not the run's, the data cannot be read, or they do not fit each other.
    """
    config = folder.config()
    require_trust(config, folder.path, trust_code)
    data_config = _data_config(config.data, dataset, data_dir)
    engine = Config(engine={**config.engine.model_dump(), "device": device}).engine
    with own_settings(engine.threads):
        models = folder.models()
        data, evaluated = _load(folder, config, data_config, split)
        splits = [evaluated] if isinstance(evaluated, Split) else evaluated
        if not all(map(len, splits)):
            examples = data.task.measure.examples
            raise InputError(f"--split {split}: {data.name} has no such {examples} (data.validation_fraction is 0)")
        model, params = _restore(folder, config, models, data)
        place = pick_device(config.model_copy(update={"engine": engine}))
        model.module.to(place)
        counts = _label_counts(folder, config)
        shape = (len(params), data.task.num_groups)
        fits = counts is not None and counts.shape == shape
        found = evaluate(
            model,
            params.to(place),
            splits[0].placed(params.dtype, place)
            if isinstance(evaluated, Split)
            else [each.placed(params.dtype, place) for each in splits],
            counts if counts is not None and fits else np.zeros(shape, dtype=np.int64),
            data.task,
        )
    groups = torch.cat([data.task.groups(each.labels) for each in splits]).numpy()
    sizes = np.bincount(groups, minlength=data.task.num_groups)
    on: Literal["common", "own"] = "common" if isinstance(evaluated, Split) else "own"
    return SavedModelEvaluation(folder.path.resolve().name, config, data.name, split, sizes, found, on, fits)


def _data_config(own: DataConfig, dataset: str | None, data_dir: Path | None) -> DataConfig:
    """Return which data to read: the run's own, perhaps at another place, or others cut and scaled as those were."""
    if dataset in (None, own.dataset):
        return own.model_copy(update={"data_dir": data_dir}) if data_dir is not None else own
    shared = {"image_size": own.image_size, "validation_fraction": own.validation_fraction}
    return Config(data={"dataset": dataset, "data_dir": data_dir, **shared}).data


def _load(
    folder: RunFolder, config: Config, data_config: DataConfig, split: SplitName
) -> tuple[Dataset, Split | list[Split]]:
    """Return the data and what of them models are evaluated on; see ``evaluate``.

    Real-valued targets are in the scale of those that the run learned.
    """
    if data_config.dataset == NODE_FOLDERS == config.data.dataset:
        evaluation = config.evaluation.model_copy(update={"split": split})
        division = divide(config.model_copy(update={"data": data_config, "evaluation": evaluation}))
        evaluated = division.evaluated
        return division.dataset, evaluated if isinstance(evaluated, Split) else list(evaluated.values())
    data = _load_dataset(folder, config, data_config)
    return data, data.split(split)


def _load_dataset(folder: RunFolder, config: Config, data_config: DataConfig) -> Dataset:
    if data_config.dataset == config.data.dataset:
        return load_dataset(data_config, config.seed, dtype=DTYPES[config.engine.dtype])
    recorded = folder.metrics()
    if not recorded:
        raise InputError(f"--dataset {data_config.dataset}: {folder.path} ended before its first evaluation")
    own = recorded[0].measure
    trained_on = config.data if own is RMSE else None
    data = load_dataset(data_config, config.seed, trained_on, DTYPES[config.engine.dtype])
    if data.task.measure is not own:
        raise InputError(
            f"--dataset {data.name}: is measured by {data.task.measure.name}, the models in {folder.path} by {own.name}"
        )
    return data


def _restore(
    folder: RunFolder, config: Config, models: dict[str, dict[str, Tensor]], data: Dataset
) -> tuple[FlatModel, Tensor]:
    """Return the network and every node's saved parameters ``[N, P]``, in the run's type.

    The network is made for the images of ``data``: that it has the saved parameters shows that they fit.
    """
    path = folder.path / "models.safetensors"
    names = [f"node{node}" for node in range(config.num_models)]
    if models.keys() != {*names, AVERAGE}:
        wanted, found = f"node0 to {names[-1]} and {AVERAGE}", ", ".join(sorted(models)[:4])
        raise InputError(f"{path}: is not of this run; it should hold the models {wanted} (it has {found}, ...)")
    shape, dtype = tuple(data.train.inputs.shape[1:]), DTYPES[config.engine.dtype]
    settings = config.model.model_copy(update={"init": None})
    model = build_model(settings, shape, data.task.num_outputs, config.seed, dtype, data.train.inputs)
    known = model.state_dict(model.start())
    for name, saved in models.items():
        _require_fit(
            model, name, saved, f"{path}: does not fit {data.name} (inputs {shape}, {data.task.num_outputs} outputs)"
        )
        if unknown := saved.keys() - known.keys():
            raise InputError(f"{path}: is not of this run; its network has no parameter {min(unknown)!r}")
        if odd := {saved[parameter].dtype for parameter in model.segments} - {dtype}:
            raise InputError(f"{path}: is not of this run; it holds {odd.pop()}, the run was in {dtype}")
    model.module.load_state_dict(models[AVERAGE], strict=False)  # its buffers, which a start from a file may have set
    params = torch.stack([model.flatten(models[name]) for name in names])
    average = model.flatten(models[AVERAGE])
    tolerance = 1e-3 * float(params.abs().nan_to_num().max())  # a run on another device rounds otherwise
    if not torch.allclose(params.mean(0), average, rtol=1e-3, atol=tolerance, equal_nan=True):
        raise InputError(f"{path}: is damaged; the averaged model in it is not the mean of the nodes' models")
    return model, params


def _require_fit(model: FlatModel, name: str, saved: dict[str, Tensor], problem: str) -> None:
    """Raise ``InputError`` where the tensors of the model of a name are not the network's.

    A second name of a tensor, and a buffer, may be missing: earlier versions did not save them.
    """
    for key, value in model.state_dict(model.start()).items():
        if key not in saved and key not in model.segments:
            continue
        given = tuple(saved[key].shape) if key in saved else "missing"
        if given != tuple(value.shape):
            raise InputError(f"{problem}: parameter {name}/{key} is {given}, should be {tuple(value.shape)}")


def _label_counts(folder: RunFolder, config: Config) -> NDArray[np.int64] | None:
    """Return each node's training images per group ``[N, G]``: as recorded, or else divided again as in the run.

    None where neither can be had.
    """
    recorded = folder.label_counts()
    if recorded is not None:
        return recorded
    try:
        return divide(config).counts
    except InputError:  # the run's data are gone: only another set is at hand
        return None


def add_average(job: Job, folder: RunFolder) -> tuple[Tensor, dict[str, Any]]:
    """Add to the records of a finished run what takes all parameters in one place, where all are there.

    Args:
        job: the run's parts.
        folder: its records, with the models of its nodes.

    Returns:
        Every node's parameters ``[N, P]``, nan for those that are not there, and the summary.
    """
    summary, models = folder.summary(), folder.models()
    params = job.model.start().new_full((job.topology.num_nodes, job.model.num_params), torch.nan)
    for node in range(len(params)):
        if named := models.get(f"node{node}"):
            _require_fit(job.model, f"node{node}", named, f"{folder.path / 'models.safetensors'}: is not of this run")
            params[node] = job.model.flatten(named).to(params)
    if bool(params.isfinite().all()):
        found = job.evaluate(params).record()
        summary["final"] |= {name: found[name] for name in summary["final"] if name in found}
        folder.finish(summary, models | {AVERAGE: job.model.state_dict(params.mean(0))})
    return params, summary
