"""Configurations that cannot be run, each with the one line that says why. Through Config and through the commands."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pydantic import BaseModel

from ngpd_fl.config import Config
from ngpd_fl.config.partitions import IIDPartition
from ngpd_fl.config.sections import DATASETS, TrainingConfig
from strategies import STRATEGIES, NGPDOptions
from topologies import TOPOLOGIES


class Bad(NamedTuple):
    """Overrides of the defaults (dotted keys), and the error."""

    overrides: dict[str, Any]
    error: str


def keys(section: type[BaseModel]) -> str:
    """The keys of a section, as an error lists them."""
    return ", ".join(section.model_fields)


DEVICES = "allowed: auto, cpu, cuda, cuda:N, or several as cuda:0,cuda:1"
STRATEGY_NAMES = ", ".join(STRATEGIES)
TOPOLOGY_NAMES = ", ".join(TOPOLOGIES)
SPLITS = (
    "iid, dirichlet, dirichlet-prior, dirichlet-uniform, pathological, classes, shards, quantity, given, natural, "
    "indices"
)

INVALID = [
    # Numbers or a word.
    Bad(
        {"strategy.damping": "Auto"},
        "strategy.damping: input should be a valid number, or 'auto' (got 'Auto'; did you mean 'auto'?)",
    ),
    Bad({"strategy.damping": math.nan}, "strategy.damping: input should be a finite number, or 'auto' (got nan)"),
    Bad({"strategy.damping": -1}, "strategy.damping: input should be greater than or equal to 0, or 'auto' (got -1)"),
    Bad(
        {"strategy.fisher_smoothing": 7},
        "strategy.fisher_smoothing: input should be less than or equal to 1, or 'auto' (got 7)",
    ),
    Bad({"engine.workers": 1.5}, "engine.workers: input should be a valid integer, or 'auto' (got 1.5)"),
    # Whole numbers that TOML cannot hold.
    Bad({"training.rounds": 2**63}, "training.rounds: a whole number is too large; allowed: below 2^63"),
    Bad({"model.hidden": [8, 2**63]}, "model.hidden: a whole number is too large; allowed: below 2^63"),
    # Unknown keys and names.
    Bad({"trainig.rounds": 3}, f"trainig: unknown key; did you mean 'training'? allowed: {keys(Config)}"),
    Bad({"training.round": 3}, f"training.round: unknown key; did you mean 'rounds'? allowed: {keys(TrainingConfig)}"),
    Bad({"strategy.lrr": 0.1}, f"strategy.lrr: unknown key; did you mean 'lr'? allowed: {keys(NGPDOptions)}"),
    Bad({"topology.size": 4}, f"topology.size: unknown key; allowed: {keys(TOPOLOGIES['ring'])}"),
    Bad(
        {"partition.name": "iid", "partition.alpha": 1}, f"partition.alpha: unknown key; allowed: {keys(IIDPartition)}"
    ),
    Bad({"strategy.name": "newton"}, f"strategy.name: 'newton' is not known; allowed: {STRATEGY_NAMES}"),
    Bad({"topology.name": "cube"}, f"topology.name: 'cube' is not known; allowed: {TOPOLOGY_NAMES}"),
    Bad({"partition": "even"}, f"partition.name: 'even' is not known; allowed: {SPLITS}"),
    Bad(
        {"model": "vgg"},
        "model.name: 'vgg' is not known; allowed: softmax, mlp, lenet, resnet8, resnet20, resnet32, lstm, transformer, "
        "torchvision:NAME or package.module:factory",
    ),
    Bad(
        {"topology.schedule": "gossip"},
        "topology.schedule.name: 'gossip' is not known; allowed: static, matching, failing",
    ),
    Bad({"strategy.name": ["ngpd"]}, "strategy.name: should be a name (got ['ngpd'])"),
    # Values of a set.
    Bad(
        {"data.dataset": "x"},
        f"data.dataset: 'x' is not known; allowed: {', '.join(DATASETS)} or package.module:factory",
    ),
    Bad({"engine.device": "gpu"}, f"engine.device: 'gpu' is not known; {DEVICES}"),
    Bad({"engine.device": "cuda:01"}, f"engine.device: 'cuda:01' is not known; did you mean 'cuda'? {DEVICES}"),
    Bad(
        {"engine.device": "cuda:0,cpu"},
        "engine.device: cpu cannot be one of several; allowed: GPUs by their numbers, e.g. cuda:0,cuda:1",
    ),
    Bad({"engine.device": "cuda:1, cuda:1"}, "engine.device: cuda:1 is named twice; name each GPU once"),
    Bad({"engine.threads": 10**9}, "engine.threads: input should be less than or equal to 1024 (got 1000000000)"),
    Bad({"topology.nodes": 10**9}, "topology.nodes: input should be less than or equal to 100000 (got 1000000000)"),
    Bad({"engine.dtype": "half"}, "engine.dtype: input should be 'float32' or 'float64' (got 'half')"),
    Bad({"evaluation.split": "train"}, "evaluation.split: input should be 'test' or 'validation' (got 'train')"),
    Bad(
        {"training.lr_schedule": "linear"},
        "training.lr_schedule: input should be 'constant', 'cosine' or 'step' (got 'linear')",
    ),
    Bad(
        {"topology.weights": "even"},
        "topology.weights: input should be 'metropolis', 'max-degree' or 'uniform' (got 'even')",
    ),
    Bad(
        {"strategy.fisher": "true"},
        "strategy.fisher: input should be 'monte-carlo', 'empirical', 'exact' or 'foof' (got 'true')",
    ),
    # Values out of range or of the wrong kind.
    Bad({"seed": -1}, "seed: input should be greater than or equal to 0 (got -1)"),
    Bad({"seed": "x"}, "seed: input should be a valid integer, unable to parse string as an integer (got 'x')"),
    Bad({"topology.nodes": 0}, "topology.nodes: input should be greater than or equal to 2 (got 0)"),
    Bad(
        {"topology.nodes": 2.5},
        "topology.nodes: input should be a valid integer, got a number with a fractional part (got 2.5)",
    ),
    Bad({"training.rounds": 0}, "training.rounds: input should be greater than or equal to 1 (got 0)"),
    Bad({"strategy.lr": True}, "strategy.lr: should not be true or false (got true)"),
    Bad({"training.rounds": True}, "training.rounds: should not be true or false (got true)"),
    Bad({"model.hidden": [8, True]}, "model.hidden: should not be true or false (got true)"),
    Bad({"devices.slow": {"1": True}}, "devices.slow.1: should not be true or false (got true)"),
    Bad({"partition": {"name": "dirichlet", "alpha": True}}, "partition.alpha: should not be true or false (got true)"),
    Bad({"training.local_steps": 0}, "training.local_steps: input should be greater than or equal to 1 (got 0)"),
    Bad(
        {"training.local_steps": 10**18},
        f"training.local_steps: input should be less than or equal to 100000 (got {10**18})",
    ),
    Bad({"data.batch_size": 10**9}, "data.batch_size: input should be less than or equal to 1000000 (got 1000000000)"),
    Bad(
        {"training.lr_milestones": [0]}, "training.lr_milestones.0: input should be greater than or equal to 1 (got 0)"
    ),
    Bad({"training.lr_decay": 0}, "training.lr_decay: input should be greater than 0 (got 0)"),
    Bad({"training.lr_warmup": -1}, "training.lr_warmup: input should be greater than or equal to 0 (got -1)"),
    Bad({"data.batch_size": 0}, "data.batch_size: input should be greater than or equal to 1 (got 0)"),
    Bad({"data.validation_fraction": 1}, "data.validation_fraction: input should be less than 1 (got 1)"),
    Bad({"strategy.lr": 0}, "strategy.lr: input should be greater than 0 (got 0)"),
    Bad({"strategy.lr": float("nan")}, "strategy.lr: input should be a finite number (got nan)"),
    Bad(
        {"strategy.lr": "fast"},
        "strategy.lr: input should be a valid number, unable to parse string as a number (got 'fast')",
    ),
    Bad(
        {"faults.leave": [{"node": 3, "at_s": 2, "until_s": 1}]},
        "faults.leave.0.until_s: must be more than at_s = 2.0 (got 1.0)",
    ),
    Bad({"faults.slow": [{"node": 3}]}, "faults.slow.0.factor: this key is required"),
    Bad(
        {"faults.corrupt": [{"who": 3, "node": 3, "kind": "nan"}]},
        "faults.corrupt.0.who: unknown key; allowed: at_s, until_s, node, kind",
    ),
    Bad({"faults.cut": [{"at_s": 1}]}, "faults.cut.0.edges: give either edges or groups"),
    Bad(
        {"faults.cut": [{"groups": [[0, 1], [1]]}]},
        "faults.cut.0.groups: a node is in one group at most (node 1 is in more)",
    ),
    Bad(
        {"faults.delay_probability": 0.5},
        "faults.delay_s: delay_probability and duplicate_probability need it",
    ),
    Bad({"network.message_loss": 1.5}, "network.message_loss: input should be less than 1 (got 1.5)"),
    Bad(
        {"partition.name": "dirichlet", "partition.alpha": 0}, "partition.alpha: input should be greater than 0 (got 0)"
    ),
    Bad({"model.hidden": [64, 0]}, "model.hidden.1: input should be greater than or equal to 1 (got 0)"),
    Bad({"model.hidden": 64}, "model.hidden: should be a list (got 64)"),
    Bad({"model.channels": [8]}, "model.channels.1: a value is missing"),
    Bad({"training": 5}, "training: should be a section of keys (got 5)"),
    Bad({"topology": 5}, "topology: should be a section of keys (got 5)"),
    Bad({"topology.schedule.probability": 0.5}, "topology.schedule.name: this key is required"),
    # Sections and keys that do not fit together.
    Bad(
        {"topology.name": "torus", "topology.rows": 3},
        "topology.rows: must divide nodes = 8; allowed: 1, 2, 4, 8 (got 3)",
    ),
    Bad({"topology.name": "edges", "topology.nodes": 3}, "topology.edges: this key is required"),
    Bad(
        {"topology.name": "edges", "topology.nodes": 3, "topology.edges": [[0, 1]]},
        "topology.edges: the graph is not connected; there is no path from node 0 to node 2",
    ),
    Bad({"training.until_accuracy": 90}, "training.until_accuracy: input should be less than or equal to 1 (got 90)"),
    Bad({"training.until_accuracy": 0}, "training.until_accuracy: input should be greater than 0 (got 0)"),
    Bad({"training.lr_warmup": 30}, "training.lr_warmup: must be less than rounds = 30 (got 30)"),
    Bad(
        {"training.lr_milestones": [10]},
        "training.lr_milestones: only lr_schedule = step has them, not constant (got [10])",
    ),
    Bad(
        {"training.lr_schedule": "step"},
        "training.lr_milestones: lr_schedule = step needs the rounds after which lr falls, e.g. [15, 22]",
    ),
    Bad(
        {"training.lr_schedule": "step", "training.rounds": 5, "training.lr_warmup": 1},
        "training.lr_milestones: lr_schedule = step needs the rounds after which lr falls, e.g. [3]",
    ),
    *(
        Bad(
            {"training.lr_schedule": "step", "training.lr_milestones": given},
            "training.lr_milestones: must be ascending rounds after the start and before the end; "
            f"allowed: 1 to 29 (got {given})",
        )
        for given in ([10, 10], [20, 10], [10, 30])
    ),
    Bad(
        {"training.lr_schedule": "step", "training.lr_milestones": [5], "training.lr_warmup": 5},
        "training.lr_milestones: must be ascending rounds after the warm-up and before the end; "
        "allowed: 6 to 29 (got [5])",
    ),
    Bad({"data.dataset": "mnist"}, "data.data_dir: mnist needs the folder that holds it (--data-dir)"),
    Bad(
        {"data.validation_fraction": 0, "evaluation.split": "validation"},
        "evaluation.split: no validation split where data.validation_fraction is 0; allowed: test",
    ),
    Bad(
        {"training.rounds": 0, "seed": -1},
        "seed: input should be greater than or equal to 0 (got -1); "
        "training.rounds: input should be greater than or equal to 1 (got 0)",
    ),
]
"""What ``Config`` refuses, with the whole line."""

IMPOSSIBLE = [
    Bad({"topology.nodes": 5000}, "topology.nodes: 5000 nodes but only 1298 training examples"),
    Bad({"partition.classes_per_node": 11}, "partition.classes_per_node: 11 classes on each node"),
    Bad(
        {"partition.name": "dirichlet", "partition.min_size": 500},
        "partition.min_size: 500 examples on each of 8 nodes",
    ),
    Bad({"data.dataset": "mnist", "data.data_dir": "nowhere"}, "data.data_dir: mnist is not in"),
    Bad({"data.dataset": "image-folder", "data.data_dir": "nowhere"}, "data.data_dir: "),
    Bad({"model.name": "no.such.module:net"}, "model.name: 'no.such.module:net' cannot be imported"),
    Bad(
        {"topology.name": "erdos-renyi", "topology.nodes": 50, "topology.probability": 0.01},
        "topology.probability: must be larger",
    ),
]
"""What only turns out where the data and the graph are known, with the beginning of the line."""
