"""Accuracy of NGPD, ECL and DSGD on MNIST with label skew: as many trials for each, then three seeds of the best.

`NGPD_FL_DATA_DIR=DIR python -m benchmarks.accuracy [OUT [TASK]]` with MNIST in DIR, as torchvision lays it out. Every
method gets the same number of settings, each run once with seed 0; the one whose nodes have the highest mean accuracy
on the validation split in the last round is run with seeds 1, 2 and 3 and evaluated on the test split. Every run is
recorded in OUT (runs/accuracy), and none is done twice: an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from ngpd_fl import Config, run

SEEDS = (1, 2, 3)
COSINE = {"lr_schedule": "cosine"}
COMMON = {
    "data": {"dataset": "mnist", "batch_size": 64},
    "model": {"name": "lenet", "channels": [4, 8], "hidden": [32]},
    "evaluation": {"every": 10},
}
TASKS: dict[str, dict[str, Any]] = {
    "8-of-10": {
        "partition": {"name": "classes", "classes_per_node": 8},
        "topology": {"name": "circulant", "nodes": 8},
        "training": {"rounds": 60, "local_steps": 8},
    },
    "2-of-10": {
        "partition": {"name": "classes", "classes_per_node": 2},
        "topology": {"name": "ring", "nodes": 8},
        "training": {"rounds": 120, "local_steps": 8},
    },
}
FACTORS = {"factor_every": 8, "basis_every": 16}


def dsgd(lr: float, momentum: float, **training: Any) -> dict[str, Any]:
    """Return a trial of decentralized SGD."""
    return {"strategy": {"name": "dsgd", "lr": lr, "momentum": momentum}, "training": training}


def ecl(lr: float, scale: float, **training: Any) -> dict[str, Any]:
    """Return a trial of ECL with mixing; ``scale`` is the factor on its default eta."""
    return {"strategy": {"name": "ecl", "lr": lr, "penalty_scale": scale}, "training": training}


def ngpd(
    lr: float, damping: float, radius: float, eta: float, smoothing: float = 1.0, **training: Any
) -> dict[str, Any]:
    """Return a trial of NGPD."""
    keys = {"damping": damping, "trust_radius": radius, "edge_penalty": eta, "fisher_smoothing": smoothing}
    return {"strategy": {"name": "ngpd", "lr": lr, **keys, **FACTORS}, "training": training}


TRIALS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "8-of-10": {
        "dsgd": [
            dsgd(0.05, 0.9),
            dsgd(0.05, 0.9, **COSINE),
            dsgd(0.1, 0.9, **COSINE),
            dsgd(0.3, 0.0, **COSINE),
        ],
        "ecl": [
            ecl(0.1, 1.0),
            ecl(0.1, 1.0, **COSINE),
            ecl(0.05, 1.0, **COSINE),
            ecl(0.02, 1.0, **COSINE),
        ],
        "ngpd": [
            ngpd(0.05, 0.03, 0.1, 0.1, smoothing=0.0),
            ngpd(0.05, 0.03, 0.1, 0.1, smoothing=0.0, **COSINE),
            ngpd(0.05, 0.03, 0.2, 0.1, smoothing=0.0, **COSINE),
            ngpd(0.05, 0.03, 0.1, 0.1, **COSINE),
        ],
    },
    "2-of-10": {
        "dsgd": [
            dsgd(0.02, 0.9),
            dsgd(0.005, 0.9, **COSINE),
            dsgd(0.01, 0.9, **COSINE),
            dsgd(0.02, 0.9, **COSINE),
            dsgd(0.1, 0.0, **COSINE),
            dsgd(0.2, 0.0, **COSINE),
        ],
        "ecl": [
            ecl(0.1, 1.0),
            ecl(0.05, 1.0, **COSINE),
            ecl(0.1, 1.0, **COSINE),
            ecl(0.15, 1.0, **COSINE),
            ecl(0.2, 1.0, **COSINE),
            ecl(0.1, 2.0, **COSINE),
        ],
        "ngpd": [
            ngpd(0.05, 0.1, 0.2, 1.0),
            ngpd(0.05, 0.1, 0.2, 0.5, **COSINE),
            ngpd(0.05, 0.1, 0.2, 1.5, **COSINE),
            ngpd(0.05, 0.1, 0.2, 1.5, smoothing=0.0, **COSINE),
            ngpd(0.05, 0.07, 0.2, 1.0, **COSINE),
            ngpd(0.05, 0.1, 0.1, 1.0, **COSINE),
        ],
    },
}


def config(task: str, trial: dict[str, Any], data_dir: str, seed: int, split: str) -> Config:
    """Return one run's configuration."""
    parts: dict[str, Any] = {section: dict(keys) for section, keys in {**COMMON, **TASKS[task]}.items()}
    parts["data"]["data_dir"] = data_dir
    parts["evaluation"]["split"] = split
    parts["training"].update(trial["training"])
    return Config.model_validate({**parts, "seed": seed, "strategy": trial["strategy"]})


def curve(folder: Path, settings: Config) -> dict[int, tuple[float, float]]:
    """Return mean local and averaged-model accuracy by round, from records or a run; nothing if it diverged."""
    summary = folder / "summary.json"
    done = summary.is_file() and json.loads(summary.read_text())["status"] in ("finished", "diverged")
    if not done or (folder / "config.toml").read_text() != settings.to_toml():
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run or another setting left
        run(settings, folder)
    if json.loads(summary.read_text())["diverged"]:
        return {}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["round"]: (line["mean_accuracy"], line["averaged_model_accuracy"]) for line in lines}


def last(points: dict[int, tuple[float, float]]) -> tuple[float, float]:
    """Return the accuracies of the last round, 0 of a run that diverged."""
    return points[max(points)] if points else (0.0, 0.0)


def search(task: str, method: str, data_dir: str, out: Path) -> dict[str, Any]:
    """Run a method's trials, print them, and return the best."""
    ends = []
    for number, trial in enumerate(TRIALS[task][method]):
        points = curve(out / task / method / f"trial{number}", config(task, trial, data_dir, 0, "validation"))
        ends.append(last(points))
        shown = " ".join(f"{key} {value}" for key, value in {**trial["strategy"], **trial["training"]}.items())
        print(f"  {100 * ends[-1][0]:5.1f} / {100 * ends[-1][1]:5.1f}   {shown}", flush=True)
    return TRIALS[task][method][ends.index(max(ends))]


def summarize(values: list[float]) -> str:
    """Return mean and standard deviation over the seeds, in percent."""
    return f"{100 * statistics.mean(values):6.2f} +- {100 * statistics.stdev(values):.2f}"


def main() -> None:
    """Search, then print the table."""
    data_dir = os.environ.get("NGPD_FL_DATA_DIR")
    if data_dir is None:
        sys.exit("benchmarks.accuracy: set NGPD_FL_DATA_DIR to the folder that holds MNIST")
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/accuracy")
    for task in sys.argv[2:] or TASKS:
        best: dict[str, dict[str, Any]] = {}
        for method in TRIALS[task]:
            print(f"{task}, {method}: validation, mean over nodes / averaged model", flush=True)
            best[method] = search(task, method, data_dir, out)
        print(f"{task}: test, mean and standard deviation over seeds {', '.join(map(str, SEEDS))}", flush=True)
        for method, trial in best.items():
            curves = [
                curve(out / task / method / f"seed{seed}", config(task, trial, data_dir, seed, "test"))
                for seed in SEEDS
            ]
            rounds = sorted(set(curves[0]).intersection(*curves[1:]) - {0})
            print(f"  {method}")
            for round in rounds:
                nodes, average = ([points[round][i] for points in curves] for i in (0, 1))
                print(
                    f"    round {round:>3}  nodes {summarize(nodes)}   averaged model {summarize(average)}", flush=True
                )


if __name__ == "__main__":
    main()
