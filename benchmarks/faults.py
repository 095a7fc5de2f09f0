"""NGPD, ECL and DSGD on MNIST under lost messages, stale messages and nodes that come and go: one matrix.

`NGPD_FL_DATA_DIR=DIR python -m benchmarks.faults [OUT]` with MNIST in DIR, as torchvision lays it out. 8 nodes on a
double ring, 8 of 10 classes each, asynchronous; NGPD has its defaults, ECL and DSGD the best of four settings without
faults on validation data. On the virtual clock a node's round takes one second, so that a message's
staleness is its latency: 0, 1 or 3 rounds. With churn each node is away a tenth of the time, 2 s at a time on average.

Cells are written to OUT/cells.json (runs/faults) as they finish, and none is done twice. `quick` in the place of OUT
runs a few rounds on digits as a check.

`python -m benchmarks.faults byzantine [OUT]` measures the effect of one Byzantine node on the seven others in ten
rounds, with and without clipping (OUT/byzantine.json). `byzantine search [OUT]` tries the clips to choose from.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from ngpd_fl import Config, Result, run
from ngpd_fl.records import write_text

COMMON: dict[str, dict[str, Any]] = {
    "data": {"dataset": "mnist", "batch_size": 64},
    "model": {"name": "lenet", "channels": [4, 8], "hidden": [32]},
}
METHODS: dict[str, dict[str, Any]] = {
    "ngpd": {"name": "ngpd"},
    "ecl": {"name": "ecl", "lr": 0.05},
    "dsgd": {"name": "dsgd", "lr": 0.1, "momentum": 0.9},
}
LOSSES = (0.0, 0.01, 0.1, 0.3)
LATENCIES = {"none": 0.0, "moderate": 1.0, "heavy": 3.0}
CHURN = {"none": {}, "10 %": {"online_s": 18.0, "offline_s": 2.0}}
STEPS = 8
ROUNDS = 40
MOST_LOST = 0.01
"""Accuracy that NGPD may lose where 10 % of messages are lost."""

Cell = tuple[str, str, float, str]
"""(churn, staleness, message loss, method)."""

CELLS: list[Cell] = list(product(CHURN, LATENCIES, LOSSES, METHODS))

ATTACKS: dict[str, dict[str, Any]] = {"none": {}, "sign-flip": {"kind": "sign-flip"}, "gaussian": {"kind": "gaussian"}}
CLIPS = {"ngpd": 3.0, "ecl": 0.3, "dsgd": 3.0}
"""The best clips among those that `byzantine search` tries."""

SEARCHED_CLIPS = (0.1, 0.3, 1.0, 3.0, 10.0)
BYZANTINE_ROUNDS = 10

ByzantineCell = tuple[str, str, float | None]
"""(method, attack of node 0, clip)."""

BYZANTINE_CELLS: list[ByzantineCell] = [
    (method, attack, clip) for method in METHODS for clip in (None, CLIPS[method]) for attack in ATTACKS
]


def write_devices(folder: Path) -> Path:
    """Write the device classes, one for each staleness and churn, and return the file."""
    lines = []
    for (churn, periods), (staleness, latency) in product(CHURN.items(), LATENCIES.items()):
        keys = {"step_seconds": 1 / STEPS, "latency_s": latency / 2, **periods}
        lines += [f'["{staleness}, {churn}"]', *(f"{key} = {value}" for key, value in keys.items())]
        lines += ['source = "assumed: a round takes one second"', ""]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "devices.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def settings(cell: Cell, devices: Path, data_dir: str | None, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return a cell's configuration; without ``data_dir`` a small one on digits."""
    churn, staleness, loss, method = cell
    quick = data_dir is None
    rounds = 6 if quick else rounds
    common = {} if quick else {**COMMON, "data": {**COMMON["data"], "data_dir": data_dir}}
    training = {"rounds": rounds, "local_steps": STEPS, "mode": "asynchronous", "lr_schedule": "cosine"}
    return {
        **common,
        "partition": {"name": "classes", "classes_per_node": 8},
        "topology": {"name": "circulant", "nodes": 8},
        "strategy": METHODS[method],
        "training": training,
        "network": {"message_loss": loss},
        "devices": {"table": devices, "classes": [f"{staleness}, {churn}"] * 8, "relative_cost": 1},
        "evaluation": {"every": rounds},
    }


def fill(out: Path, data_dir: str | None, cells: list[Cell] = CELLS) -> dict[str, dict[str, Any]]:
    """Run the cells that are not in ``out`` yet; return all that are, by their names."""
    devices = write_devices(out)

    def figures(result: Result) -> dict[str, Any]:
        end, clock = result.metrics[-1], result.summary["clock"]
        ages = {int(age): count for age, count in clock["staleness"].items()}
        return {
            "nodes": end.mean,
            "average": end.averaged_model,
            "age": sum(age * count for age, count in ages.items()) / max(sum(ages.values()), 1),
            "away": sum(clock["node_away_seconds"]) / (8 * clock["virtual_seconds"]),
        }

    return _complete(
        out / "cells.json", {name(cell): Config(**settings(cell, devices, data_dir)) for cell in cells}, figures
    )


def _complete(
    path: Path, configs: Mapping[str, Config], figures: Callable[[Result], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Run what is not in a file yet, and keep how each run ended and its figures there; return all, by their names."""
    done: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for cell, config in configs.items():
        if cell in done:
            continue
        result = run(config)
        done[cell] = {"status": result.summary["status"], **figures(result)}
        write_text(path, json.dumps(done, indent=1))
        print(f"{cell}: {done[cell]}", flush=True)
    return done


def fill_byzantine(out: Path, data_dir: str | None, cells: list[ByzantineCell]) -> dict[str, dict[str, Any]]:
    """Run the cells with a Byzantine node that are not in ``out`` yet; return all that are, by their names."""
    devices = write_devices(out)

    def config(cell: ByzantineCell) -> Config:
        method, attack, clip = cell
        values = settings(("none", "none", 0.0, method), devices, data_dir, BYZANTINE_ROUNDS)
        values["strategy"] = {**values["strategy"], "clip": clip}
        values["faults"] = {"byzantine": [{"node": 0, **ATTACKS[attack]}] if ATTACKS[attack] else []}
        return Config(**values)

    def figures(result: Result) -> dict[str, Any]:
        clock = result.summary["clock"]
        return {"honest": statistics.mean(result.metrics[-1].nodes[1:]), "refused": clock["messages_refused"]}

    return _complete(out / "byzantine.json", {byzantine_name(cell): config(cell) for cell in cells}, figures)


def byzantine_name(cell: ByzantineCell) -> str:
    """Return what a cell with a Byzantine node is called."""
    method, attack, clip = cell
    return f"{method}, attack {attack}, clip {'none' if clip is None else f'{clip:g}'}"


def byzantine_table(done: dict[str, dict[str, Any]]) -> list[str]:
    """Return mean accuracies of the seven honest nodes in percent as lines of Markdown."""
    lines = [
        "| method | clip | " + " | ".join(f"attack: {attack}" for attack in ATTACKS) + " |",
        "| --- " * (2 + len(ATTACKS)) + "|",
    ]
    for method in METHODS:
        for clip in (None, CLIPS[method]):
            found = [done.get(byzantine_name((method, attack, clip))) for attack in ATTACKS]
            shown = " | ".join(_shown(cell, "honest") for cell in found)
            lines.append(f"| {method} | {'none' if clip is None else f'{clip:g}'} | {shown} |")
    return lines


def name(cell: Cell) -> str:
    """Return what a cell is called."""
    churn, staleness, loss, method = cell
    return f"{method}, loss {100 * loss:g} %, staleness {staleness}, churn {churn}"


def table(done: dict[str, dict[str, Any]]) -> list[str]:
    """Return the matrix as lines of Markdown: mean accuracy of the nodes' own models in percent."""
    lines = ["| churn | staleness | method | " + " | ".join(f"{100 * loss:g} % lost" for loss in LOSSES) + " |"]
    lines.append("| --- " * (3 + len(LOSSES)) + "|")
    for churn, staleness, method in product(CHURN, LATENCIES, METHODS):
        found = [done.get(name((churn, staleness, loss, method))) for loss in LOSSES]
        lines.append(f"| {churn} | {staleness} | {method} | " + " | ".join(map(_shown, found)) + " |")
    return lines


def _shown(cell: dict[str, Any] | None, figure: str = "nodes") -> str:
    if cell is None:
        return ""
    return cell["status"] if cell["status"] != "finished" else f"{100 * cell[figure]:.1f}"


def failures(done: dict[str, dict[str, Any]]) -> list[str]:
    """Return what does not hold: no cell diverges; NGPD keeps its accuracy where 10 % of messages are lost."""
    found = [f"{cell}: {values['status']}" for cell, values in done.items() if values["status"] != "finished"]
    for churn, staleness in product(CHURN, LATENCIES):
        pair = [done.get(name((churn, staleness, loss, "ngpd"))) for loss in (0.0, 0.1)]
        if pair[0] and pair[1] and not pair[1]["nodes"] >= pair[0]["nodes"] - MOST_LOST:
            found.append(f"ngpd, staleness {staleness}, churn {churn}: loses more than {100 * MOST_LOST:g} points")
    return found


def main() -> None:
    """Fill and print the matrix, with what does not hold; or the table of Byzantine nodes; or search for clips."""
    words = sys.argv[1:]
    task = " ".join(word for word in words[:2] if word in ("byzantine", "search"))
    place = "".join(words[len(task.split()) :]) or "runs/faults"
    quick, data_dir = place == "quick", os.environ.get("NGPD_FL_DATA_DIR")
    if not quick and data_dir is None:
        sys.exit("benchmarks.faults: set NGPD_FL_DATA_DIR to the folder that holds MNIST")
    out, data_dir = (Path("runs/faults-quick"), None) if quick else (Path(place), data_dir)
    if task == "byzantine search":
        fill_byzantine(out, data_dir, list(product(METHODS, ("sign-flip",), SEARCHED_CLIPS)))
    elif task == "byzantine":
        print("\n".join(byzantine_table(fill_byzantine(out, data_dir, BYZANTINE_CELLS))))
    else:
        done = fill(out, data_dir)
        print("\n".join(table(done)))
        if broken := failures(done):
            sys.exit("\n".join(broken))


if __name__ == "__main__":
    main()
