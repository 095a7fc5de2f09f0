"""Checks of combinations of sections, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.faults import FaultsConfig
from ngpd_fl.config.import_paths import HUB
from ngpd_fl.config.partitions import PartitionConfig
from ngpd_fl.config.sections import (
    BUNDLED,
    DATASETS,
    NODE_FOLDERS,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    NetworkConfig,
    TrainingConfig,
)
from ngpd_fl.config.text_files import expanded
from strategies import StrategyOptions

BASELINE_STEPS = ("dsgd", "kfac-gossip")
"""The algorithms whose local steps baselines take: SGD with momentum, and K-FAC."""

SERVER_BASELINES = ("fedavg", "fedpm")
"""The baselines whose server averages a model of each node; the others have one model."""

MOST = 2**63
"""Whole numbers are smaller in size, as those of TOML are."""

_RELIABLE = "synchronous, or neighbor-synchronous without training.timeout_seconds"
"""The modes in which every message is waited for."""


def check_whole_numbers(config: BaseModel, prefix: str = "") -> None:
    """Raise ``InputError`` with one line where a whole number has more bits than the records can hold."""
    for name, value in config:
        if isinstance(value, BaseModel):
            check_whole_numbers(value, f"{prefix}{name}.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and abs(number) >= MOST:
                raise InputError(f"{prefix}{name}: a whole number is too large; allowed: below 2^63")


def check_truth_values(given: Any, taken: Any, key: str = "") -> None:
    """Raise ``InputError`` with one line where true or false stands for a number: pydantic would take it for 1 or 0.

    Args:
        given: a value as the user wrote it.
        taken: what it became.
        key: its dotted name.
    """
    if isinstance(given, Mapping):
        parts = taken if isinstance(taken, Mapping) else dict(taken) if isinstance(taken, BaseModel) else {}
        for name, value in given.items():
            check_truth_values(value, parts.get(name), f"{key}.{name}" if key else str(name))
    elif isinstance(given, list | tuple):
        for value, number in zip(given, taken if isinstance(taken, list | tuple) else (), strict=False):
            check_truth_values(value, number, key)
    elif isinstance(given, bool) and not isinstance(taken, bool):
        raise InputError(f"{key}: should not be true or false (got {str(given).lower()})")


def check_strategy(strategy: StrategyOptions, training: TrainingConfig, network: NetworkConfig) -> None:
    """Raise ``InputError`` with one line if the network or the training does not meet the algorithm's needs."""
    if strategy.needs.reliable and network.message_loss > 0:
        raise InputError(f"network.message_loss: {strategy.title} needs every message to arrive; allowed: 0")
    if strategy.needs.reliable and (training.mode == "asynchronous" or training.timeout_seconds is not None):
        raise InputError(f"training.mode: {strategy.title} needs every message; allowed: {_RELIABLE}")
    if strategy.needs.single_step and training.local_steps > 1:
        raise InputError(f"training.local_steps: {strategy.title} exchanges after every step; allowed: 1")


def check_baseline(
    strategy: StrategyOptions,
    training: TrainingConfig,
    network: NetworkConfig,
    model: ModelConfig,
    *,
    has_clock: bool,
) -> None:
    """Raise ``InputError`` with one line if a baseline is combined with an option of decentralized runs."""
    if training.baseline is None:
        return
    if model.init_per_node and training.baseline not in SERVER_BASELINES:
        raise InputError(f"model.init_per_node: training.baseline = {training.baseline} trains one model; unset it")
    if strategy.name not in BASELINE_STEPS:
        raise InputError(
            f"strategy.name: training.baseline = {training.baseline} takes the local steps of an algorithm that has "
            f"them apart from its exchange; allowed: {', '.join(BASELINE_STEPS)} (got {strategy.name})"
        )
    if training.baseline == "fedpm":
        for key, needed in (("name", "kfac-gossip"), ("fisher", "foof"), ("trust_radius", 0)):
            if (given := getattr(strategy, key, needed)) != needed:
                raise InputError(
                    f"strategy.{key}: training.baseline = fedpm averages after whole steps of K-FAC with input factors "
                    "alone; set strategy.name=kfac-gossip, strategy.fisher=foof and strategy.trust_radius=0 "
                    f"(got {given})"
                )
    for key, given in (
        ("strategy.clip", getattr(strategy, "clip", None)),
        ("strategy.message_dtype", strategy.message_dtype),
        ("strategy.compress", strategy.compress),
        ("network.message_loss", network.message_loss),
    ):
        if given:
            raise InputError(f"{key}: training.baseline = {training.baseline} has no messages of peers; unset it")
    if has_clock:
        raise InputError(
            f"training.baseline: {training.baseline} does not go by the virtual clock; leave training.mode, devices "
            "and faults unset"
        )


def check_faults(strategy: StrategyOptions, faults: FaultsConfig) -> None:
    """Raise ``InputError`` with one line where faults lose messages that the algorithm needs."""
    for key in ("burst_begin", "leave", "cut", "corrupt", "byzantine") if strategy.needs.reliable else ():
        if getattr(faults, key):
            raise InputError(f"faults.{key}: {strategy.title} needs every message; unset it")


def check_data(data: DataConfig, evaluation: EvaluationConfig) -> None:
    """Raise ``InputError`` with one line where the data's folder or the split to evaluate on is missing."""
    data_folder(data)
    if evaluation.split == "validation" and data.validation_fraction == 0:
        raise InputError("evaluation.split: no validation split where data.validation_fraction is 0; allowed: test")


def check_objects(data: DataConfig, model: ModelConfig) -> None:
    """Raise ``InputError`` with one line where a key needs what ``run`` may be given by ``data`` or ``init``."""
    if data.task != "auto" and data.dataset in DATASETS:
        raise InputError(f"data.task: {data.dataset} has its own; {data.task} is for package.module:factory")
    if model.init_per_node and model.init is None:
        raise InputError("model.init_per_node: needs a run's folder to start from; set model.init")


def data_folder(data: DataConfig) -> Path | None:
    """Return the folder of a data set, None where it may do without; raise ``InputError`` where it is missing."""
    if data.data_dir is not None:
        return expanded(data.data_dir)
    is_of_hub = data.dataset.startswith(HUB)
    if data.download if is_of_hub else data.dataset in BUNDLED or data.dataset not in DATASETS:
        return None
    or_download = ", or data.download=true" * is_of_hub
    raise InputError(f"data.data_dir: {data.dataset} needs the folder that holds it (--data-dir){or_download}")


def check_division(data: DataConfig, partition: PartitionConfig) -> None:
    """Raise ``InputError`` with one line if node folders are to be partitioned, or another data set is not."""
    apart = data.dataset == NODE_FOLDERS
    if apart and partition.name != "given":
        raise InputError(
            f"partition.name: {NODE_FOLDERS} is divided by its folders; allowed: given (got {partition.name})"
        )
    if not apart and partition.name == "given":
        raise InputError(f"partition.name: given needs data.dataset = {NODE_FOLDERS} (got {data.dataset})")
    for key in ("rotation", "noise", "placement"):
        if apart and getattr(data, key):
            raise InputError(f"data.{key}: {NODE_FOLDERS} is taken as it lies; unset it (got {getattr(data, key)})")
