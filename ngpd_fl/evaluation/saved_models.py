"""Evaluation of a run's saved models, on the data set that they were trained on or on another one that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.config import Config, DataConfig, InputError, require_trust, with_recorded_objects
from ngpd_fl.config.sections import NODE_FOLDERS
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.data import Dataset, Split, divide, load_dataset
from ngpd_fl.evaluation.evaluation import evaluate
from ngpd_fl.models import DTYPES, FlatModel, build_model, count_parameters, pick_devices
from ngpd_fl.models.saved import parameter_names
from ngpd_fl.records import AVERAGE, RMSE, Evaluation, RunFolder, null_if_not_finite

_ANYWAY = 10**8
"""Parameters of a network that is made even where the saved models have fewer, to tell which one does not fit."""

SplitName = Literal["test", "validation"]


@dataclass(frozen=True, eq=False)
class SavedModelEvaluation:
    """Evaluation of a run's saved models on a split of a data set.

    Attributes:
        name: the name of the run's folder.
        config: the run's configuration.
        dataset: the data set's name, as in ``data.dataset``.
        split: the split of that data set.
        sizes: the split's examples per group (a class, or a bin of targets), ``[G]``.
        evaluation: the measures.
        evaluated_on: ``"common"`` if all models were evaluated on the same examples, ``"own"`` if each was evaluated
            on its own node's examples.
        own_known: whether the nodes' training examples per group are known; if not, ``evaluation.own`` is meaningless.
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
        """Return the measures as JSON values, named as in ``metrics.jsonl``; None for values that are not known."""
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
    model: Any = None,
    data: Any = None,
) -> SavedModelEvaluation:
    """Evaluate every node's saved model and the averaged one.

    Args:
        folder: the run's folder.
        split: the examples to evaluate on.
        dataset: another data set, named as in ``data.dataset``. Defaults to the run's own.
        data_dir: the folder of the data set. Defaults to the run's own.
        device: the device, named as in ``engine.device``.
        trust_code: whether code that the recorded configuration names (``package.module:name``) may run.
        model: the network or factory that ``run`` was given, if it was given one.
        data: likewise, the data.

    Raises:
        InputError: the models are damaged or belong to another run, the data cannot be read, or the models do not fit
            the data.
    """
    config = require_trust(folder.config(), folder.path, trust_code)
    config = with_recorded_objects(config, model=model, data=data)
    data_config = _data_config(config.data, dataset, data_dir)
    elsewhere = config.on_device(device)
    with own_settings(config.engine.threads):
        models = folder.models()
        loaded, evaluated = _load(folder, config, data_config, split)
        splits = [evaluated] if isinstance(evaluated, Split) else evaluated
        if not all(map(len, splits)):
            is_ready = loaded.train_index is None and data_config.dataset != NODE_FOLDERS  # a user's own Dataset
            why = " (data.validation_fraction is 0)" * (data_config.validation_fraction == 0 and not is_ready)
            raise InputError(f"--split {split}: {loaded.name} has no such {loaded.task.measure.examples}{why}")
        network, params = _restore(folder, config, models, loaded)
        devices = pick_devices(elsewhere)
        network.module.to(devices[0])
        counts = _label_counts(folder, config)
        shape = (len(params), loaded.task.num_groups)
        own_known = counts is not None and counts.shape == shape
        placed = [part.placed(params.dtype, devices[0]) for part in splits]
        evaluation = evaluate(
            network,
            params.to(devices[0]),
            placed[0] if isinstance(evaluated, Split) else placed,
            counts if counts is not None and own_known else np.zeros(shape, dtype=np.int64),
            loaded.task,
            compute_devices=devices,
        )
    groups = torch.cat([loaded.task.groups(part.labels) for part in splits])
    return SavedModelEvaluation(
        name=folder.path.resolve().name,
        config=config,
        dataset=loaded.name,
        split=split,
        sizes=np.bincount(groups[groups >= 0].numpy(), minlength=loaded.task.num_groups),
        evaluation=evaluation,
        evaluated_on="common" if isinstance(evaluated, Split) else "own",
        own_known=own_known,
    )


def _data_config(own: DataConfig, dataset: str | None, data_dir: Path | None) -> DataConfig:
    """Return the data to read: the run's own, perhaps in another folder, or other data cut and scaled like them."""
    if dataset in (None, own.dataset):
        return own.model_copy(update={"data_dir": data_dir}) if data_dir is not None else own
    shared = {"image_size": own.image_size, "validation_fraction": own.validation_fraction}
    return Config(data={"dataset": dataset, "data_dir": data_dir, **shared}).data


def _load(
    folder: RunFolder, config: Config, data_config: DataConfig, split: SplitName
) -> tuple[Dataset, Split | list[Split]]:
    """Return the data set, and its examples as ``evaluate`` accepts them.

    Real-valued targets have the scale of the run's training targets.
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
    """Return the network and every node's saved parameters, ``[N, P]``, in the run's number type.

    The network is built for the inputs of ``data``: if it has the saved parameters, the models fit the data.
    """
    path = folder.path / "models.safetensors"
    names = [f"node{node}" for node in range(config.num_models)]
    if models.keys() != {*names, AVERAGE}:
        wanted, present = f"node0 to {names[-1]} and {AVERAGE}", ", ".join(sorted(models)[:4])
        raise InputError(f"{path}: is not of this run; it should hold the models {wanted} (it has {present}, ...)")
    shape, dtype = tuple(data.train.inputs.shape[1:]), DTYPES[config.engine.dtype]
    settings = config.model.model_copy(update={"init": None})
    problem = f"{path}: does not fit {data.name} (inputs {shape}, {data.task.num_outputs} outputs)"
    size = count_parameters(settings, shape, data.task.num_outputs)
    saved_size = sum(tensor.numel() for tensor in models[AVERAGE].values())
    if size > max(saved_size, _ANYWAY):
        raise InputError(f"{problem}: its models have {saved_size} parameters, the network of the run {size:.3g}")
    model = build_model(
        settings,
        shape,
        data.task.num_outputs,
        config.seed,
        dtype,
        data.example_inputs,
        positions=data.task.positions,
        fields=data.fields,
    )
    known = model.state_dict(model.start())
    for name, saved in models.items():
        require_fit(model, name, saved, problem)
        if unknown := saved.keys() - known.keys():
            raise InputError(f"{path}: is not of this run; its network has no parameter {min(unknown)!r}")
        if odd := {saved[parameter].dtype for parameter in parameter_names(model.module)} - {dtype}:
            raise InputError(f"{path}: is not of this run; it holds {odd.pop()}, the run was in {dtype}")
    model.module.load_state_dict(models[AVERAGE], strict=False)  # buffers, which a start from a file may have set
    params = torch.stack([model.params_of(models[name]) for name in names])
    average = model.params_of(models[AVERAGE])
    tolerance = 1e-3 * float(params.abs().nan_to_num().max())  # another device may round differently
    if not torch.allclose(params.mean(0), average, rtol=1e-3, atol=tolerance, equal_nan=True):
        raise InputError(f"{path}: is damaged; the averaged model in it is not the mean of the nodes' models")
    return model, params


def require_fit(model: FlatModel, name: str, saved: dict[str, Tensor], problem: str) -> None:
    """Raise ``InputError`` if the tensors saved under ``name`` do not fit the network.

    Buffers and second names of a tensor may be missing: earlier versions did not save them.
    """
    required = parameter_names(model.module)
    for key, value in model.state_dict(model.start()).items():
        if key not in saved and key not in required:
            continue
        shape = tuple(saved[key].shape) if key in saved else "missing"
        if shape != tuple(value.shape):
            raise InputError(f"{problem}: parameter {name}/{key} is {shape}, should be {tuple(value.shape)}")


def _label_counts(folder: RunFolder, config: Config) -> NDArray[np.int64] | None:
    """Return the nodes' training examples per group, ``[N, G]``: as recorded, or from dividing the data again.

    None where neither is possible.
    """
    recorded = folder.label_counts()
    if recorded is not None:
        return recorded
    try:
        return divide(config).counts
    except InputError:  # the run's own data are not here, only another data set
        return None


def add_average(
    folder: RunFolder, model: FlatModel, num_nodes: int, evaluate_all: Callable[[Tensor], Evaluation]
) -> tuple[Tensor, dict[str, Any]]:
    """Evaluate the averaged model of a finished run and add it to the records, if every node's model is there.

    Args:
        folder: the run's folder, with the models of its nodes.
        model: the network.
        num_nodes: N.
        evaluate_all: evaluates all nodes' parameters ``[N, P]`` and their mean.

    Returns:
        Every node's parameters ``[N, P]``, nan for missing nodes, and the summary.
    """
    summary, models = folder.summary(), folder.models()
    params = model.start().new_full((num_nodes, model.num_params), torch.nan)
    for node in range(num_nodes):
        if saved := models.get(f"node{node}"):
            require_fit(model, f"node{node}", saved, f"{folder.path / 'models.safetensors'}: is not of this run")
            params[node] = model.params_of(saved)
    if bool(params.isfinite().all()):
        record = evaluate_all(params).record()
        summary["final"] |= {name: record[name] for name in summary["final"] if name in record}
        folder.finish(summary, models | {AVERAGE: model.state_dict(params.mean(0))})
    return params, summary
