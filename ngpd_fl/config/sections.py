"""The sections of a run's configuration. Each parameter is documented here and nowhere else.

The sections ``strategy`` and ``topology`` belong to the packages of these names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ngpd_fl.config.errors import choices
from ngpd_fl.config.held_object import ObjectSection, is_object_name
from ngpd_fl.config.import_paths import HUB, is_import_path
from ngpd_fl.config.installed import installed, names

NODE_FOLDERS = "node-folders"
"""The data set whose nodes each have a folder of their own."""

DATASETS = {
    "digits": "ngpd_fl.data.scikit_sets:read_digits",
    "diabetes": "ngpd_fl.data.scikit_sets:read_diabetes",
    **dict.fromkeys(
        ("mnist", "fashion-mnist", "cifar10", "cifar100", "svhn"), "ngpd_fl.data.vision_sets:read_vision_set"
    ),
    "shakespeare": "ngpd_fl.data.shakespeare:read_shakespeare",
    "image-folder": "ngpd_fl.data.image_folder:read_image_folder",
    NODE_FOLDERS: "ngpd_fl.data.load:refuse",
}
"""Name of a data set -> its reader, imported where it is used. A new one is a file in ``data`` and a line here."""

BUNDLED = ("digits", "diabetes")
"""Data sets that come with scikit-learn."""

MODELS = {
    "softmax": "ngpd_fl.models.mlp:softmax",
    "mlp": "ngpd_fl.models.mlp:mlp",
    "lenet": "ngpd_fl.models.lenet:lenet",
    "resnet8": "ngpd_fl.models.resnet:resnet8",
    "resnet20": "ngpd_fl.models.resnet:resnet20",
    "resnet32": "ngpd_fl.models.resnet:resnet32",
    "lstm": "ngpd_fl.models.lstm:lstm",
    "transformer": "ngpd_fl.models.transformer:transformer",
}
"""Name of a network -> its builder, imported where it is used. A new one is a file in ``models`` and a line here."""

DEFAULT_NAMES = {"partition": "classes", "topology": "ring", "strategy": "ngpd", "model": "mlp"}
"""The sections with a ``name``, and its default."""

LOSSES = ("auto", "cross-entropy", "label-smoothing", "squared-error", "binary-cross-entropy")
"""Names of the losses."""


_OR_OWN = " or package.module:factory"

_DEVICES = ("auto", "cpu", "cuda")
_OR_NUMBERED = ", cuda:N, or several as cuda:0,cuda:1"

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""A key of draws, of as many bits as every generator takes."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SeedConfig(Section):
    """The one key that stands outside all sections."""

    seed: Seed = Field(0, description="keys every random draw of the run", json_schema_extra={"flag": "--seed"})


class DataConfig(Section, ObjectSection):
    """Data set, its folder, validation images, minibatches, placement on the graph, augmentation and feature skew."""

    dataset: str = Field(
        "digits",
        description=f"{', '.join(DATASETS)} (each node's own data in node0, node1, ...), hf:NAME of the Hugging "
        "Face hub, or package.module:factory of your own",
        json_schema_extra={"flag": "--dataset"},
    )
    data_dir: Path | None = Field(
        None,
        description="folder that holds the data set; digits, diabetes, your own and hf:NAME with download need none",
        json_schema_extra={"flag": "--data-dir"},
    )
    download: bool = Field(
        False,
        description="let torchvision download a missing data set into data_dir, or the Hugging Face library one into "
        "its own cache",
    )
    task: Literal["auto", "multi-label"] = Field(
        "auto",
        description="what labels of your own data or of hf:NAME mean; auto: integers are classes, one of an example or "
        "at each position, floating-point numbers are targets, bools are multi-label; multi-label: each example has "
        "0 or 1 for every label",
    )
    input_column: str | None = Field(
        None,
        description="of a Hugging Face data set, or of examples that are dictionaries: the column of inputs; unset: "
        "that of images, or the only other",
    )
    label_column: str | None = Field(
        None, description="of the same: the column of labels; unset: that of classes, or label"
    )
    node_column: str | None = Field(
        None,
        description="of a Hugging Face data set: the column of owners, e.g. of writers, by which "
        "partition.name = natural divides the examples",
    )
    image_size: int = Field(32, ge=1, le=1024, description="height and width that images in folders get")
    sequence_length: int = Field(80, ge=1, le=65536, description="characters of a sequence of shakespeare")
    validation_fraction: float = Field(
        0.1, ge=0, lt=1, description="share of the training examples kept apart, on which settings are chosen"
    )
    batch_size: int = Field(
        32, ge=1, le=1_000_000, description="examples of a local step", json_schema_extra={"flag": "--batch-size"}
    )
    placement: Literal["alike", "different", "random"] | None = Field(
        None,
        description="which node gets which part of the partition: neighbors on the graph as alike or as different in "
        "their labels as can be found, or random; unset: as the partition numbers them",
    )
    crop: int = Field(
        0, ge=0, description="training images are shifted at random, each way by at most so many pixels; 0: none"
    )
    flip: bool = Field(False, description="training images are mirrored left to right, each with probability 1/2")
    rotation: float = Field(
        0.0,
        ge=0,
        le=360,
        description="degrees by which the last node's training images are turned; node i's: i/(N-1) of it",
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of Gaussian noise on the last node's normalized training images; on node i's: "
        "i/(N-1) of it",
    )

    @field_validator("dataset")
    @classmethod
    def _known(cls, name: str) -> str:
        if is_object_name(name) or re.fullmatch(rf"{HUB}[\w.-]+(/[\w.-]+)?", name, re.ASCII):
            return name
        if name not in DATASETS and not is_import_path(name) and name not in installed("datasets"):
            raise ValueError(f"{name!r} is not known; {choices(name, names('datasets', DATASETS), _OR_OWN)}")
        return name


MOST_LAYERS = 1000
"""Layers of a built-in network."""


class ModelConfig(Section, ObjectSection):
    """The network that every node trains."""

    name: str = Field(
        "mlp",
        description=f"{', '.join(MODELS)}, torchvision:NAME (e.g. torchvision:resnet18; GroupNorm in place of "
        "BatchNorm), or package.module:factory of your own",
        json_schema_extra={"flag": "--model"},
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (64,), max_length=MOST_LAYERS, description="widths of the MLP's hidden layers"
    )
    channels: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        (8, 16), description="channels of lenet's two convolutions"
    )
    embedding: int = Field(8, ge=1, description="width of lstm's embedding")
    width: int = Field(256, ge=1, description="width of each layer of lstm and transformer")
    layers: int = Field(2, ge=1, le=MOST_LAYERS, description="layers of lstm and transformer")
    heads: int = Field(4, ge=1, description="attention heads of transformer; they divide the width among them")
    batch_norm: Literal["group", "refuse"] | None = Field(
        None,
        description='BatchNorm layers, whose statistics depend on each node\'s own data: "group" puts a GroupNorm in '
        'the place of each, "refuse" makes them an error; unset: group in torchvision:NAME, refuse in your own network',
    )
    init: Path | None = Field(
        None,
        description="start from this run's folder, or from a .safetensors file: a network's parameters, or a run's "
        "models.safetensors; of a run its averaged model; unset: drawn by the seed",
        json_schema_extra={"flag": "--init"},
    )
    init_per_node: bool = Field(
        False, description="each node starts from its own model of the run in init, not from the averaged one"
    )
    loss: str = Field(
        "auto",
        description='"auto" (cross-entropy for classes, binary-cross-entropy for multi-label, squared-error for '
        'real-valued targets), "cross-entropy", "label-smoothing", "squared-error" (for classes: to one-hot labels), '
        '"binary-cross-entropy", or "package.module:factory" of your own',
    )
    smoothing: float = Field(0.1, ge=0, lt=1, description="share of label-smoothing's targets that all classes divide")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if is_object_name(name):
            return name
        if name not in MODELS and not is_import_path(name) and name not in installed("models"):
            more = f", torchvision:NAME{_OR_OWN}"
            raise ValueError(f"{name!r} is not known; {choices(name, names('models', MODELS), more)}")
        return name

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, loss: str) -> str:
        if loss not in LOSSES and not is_import_path(loss):
            raise ValueError(f"{loss!r} is not known; {choices(loss, LOSSES, _OR_OWN)}")
        return loss


class TrainingConfig(Section):
    """Length of the run, local steps, schedule, and when nodes wait."""

    rounds: int = Field(30, ge=1, description="exchanges with the neighbors", json_schema_extra={"flag": "--rounds"})
    local_steps: int = Field(
        8, ge=1, le=100_000, description="K, minibatch steps of a round", json_schema_extra={"flag": "--local-steps"}
    )
    lr_schedule: Literal["constant", "cosine", "step"] = Field(
        "constant",
        description="factor on the strategy's lr over the run: constant, cosine (falls to 0) or step (by lr_decay at "
        "lr_milestones)",
    )
    lr_milestones: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="for step: rounds, counted from the start of the run, after which lr is multiplied by lr_decay"
    )
    lr_decay: float = Field(0.1, gt=0, le=1, description="for step: the factor at each milestone")
    lr_warmup: int = Field(
        0, ge=0, description="rounds in which the factor first rises linearly to 1; cosine falls over those that remain"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight of the penalty 1/2 |w|^2 in every node's loss")
    mode: Literal["synchronous", "neighbor-synchronous", "asynchronous"] = Field(
        "synchronous",
        description="when a node stops waiting for messages: synchronous (once everyone has everything), "
        "neighbor-synchronous (once it has its own neighbors'), asynchronous (at once: it takes in what has come)",
    )
    timeout_seconds: float | None = Field(
        None,
        gt=0,
        description="for neighbor-synchronous: seconds of the virtual clock that a node waits at most; unset: no bound",
    )
    baseline: Literal["fedavg", "fedpm", "all-reduce", "single-node"] | None = Field(
        None,
        description="what peers are compared with: fedavg (a server averages all nodes' parameters after each "
        "round), fedpm (it weights them by curvature), all-reduce (every step is on the mean of all gradients) or "
        "single-node (one node has all data); the strategy gives the local step; unset: nodes exchange with their "
        "neighbors",
    )
    until_accuracy: float | None = Field(
        None,
        gt=0,
        le=1,
        description="end at the first evaluation whose mean accuracy over the nodes is at least this share, e.g. 0.9; "
        "the schedule of lr stays that of all rounds; unset: never",
        json_schema_extra={"flag": "--until-accuracy"},
    )

    @model_validator(mode="after")
    def _timeout_fits(self) -> TrainingConfig:
        if self.timeout_seconds is not None and self.mode != "neighbor-synchronous":
            raise ValueError(f"timeout_seconds: is for mode = neighbor-synchronous, not {self.mode}; unset it")
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> TrainingConfig:
        """Check that the warm-up is shorter than the run, and that milestones come with their schedule and in order."""
        first, last, given = self.lr_warmup + 1, self.rounds - 1, list(self.lr_milestones)
        if self.lr_warmup >= self.rounds:
            raise ValueError(f"lr_warmup: must be less than rounds = {self.rounds} (got {self.lr_warmup})")
        if self.lr_schedule != "step" and given:
            raise ValueError(f"lr_milestones: only lr_schedule = step has them, not {self.lr_schedule} (got {given})")
        if self.lr_schedule == "step" and not given:
            example = f", e.g. {sorted({(first + last) // 2, (first + 3 * last) // 4})}" if first <= last else ""
            raise ValueError(f"lr_milestones: lr_schedule = step needs the rounds after which lr falls{example}")
        if given and not (given == sorted(set(given)) and first <= given[0] and given[-1] <= last):
            after = "the warm-up" if self.lr_warmup else "the start"
            raise ValueError(
                f"lr_milestones: must be ascending rounds after {after} and before the end; "
                f"allowed: {first} to {last} (got {given})"
            )
        return self


class NetworkConfig(Section):
    """Loss of messages."""

    message_loss: float = Field(0.0, ge=0, lt=1, description="probability that a message is lost, drawn per message")


class EvaluationConfig(Section):
    """Rounds and data of the evaluations."""

    every: int = Field(1, ge=1, description="rounds between two evaluations; the last round is always evaluated")
    split: Literal["test", "validation"] = Field("test", description="choose settings on validation, report on test")


class EngineConfig(Section):
    """Computation of the network; it changes results by rounding only."""

    device: str = Field(
        "auto",
        description="cpu, cuda, a GPU by its number (cuda:1), several GPUs, each of which holds a part of the nodes "
        "(cuda:0,cuda:1), or auto: a GPU where there is one",
        json_schema_extra={"flag": "--device"},
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="of parameters and data: float32 or float64")
    chunk_size: int | None = Field(
        None, ge=1, description="nodes computed at once; unset: as many as stay in a CPU's cache, all on a GPU"
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        "auto", description="threads that compute nodes side by side, 1 to 1024; auto: one for each core"
    )
    threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="CPU threads within an operation; more pay where a process computes one large network only",
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        names = device.replace(" ", "").split(",")
        for name in names:
            if not (name in _DEVICES or re.fullmatch(r"cuda:(0|[1-9]\d*)", name)):
                raise ValueError(f"{name!r} is not known; {choices(name, _DEVICES, _OR_NUMBERED)}")
            if len(names) > 1 and name in _DEVICES:
                raise ValueError(f"{name} cannot be one of several; allowed: GPUs by their numbers, e.g. cuda:0,cuda:1")
            if names.count(name) > 1:
                raise ValueError(f"{name} is named twice; name each GPU once")
        return ",".join(names)
