"""Checks of an installation and a machine: versions, devices, data, a writable folder, one real run.

Each check imports what it needs, so that a broken package is a finding and does not end the program.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from itertools import permutations
from pathlib import Path
from typing import Any, Literal, NamedTuple

from packaging.requirements import Requirement

from ngpd_fl.config.extras import MODULES, installed_version, remedy

State = Literal["ok", "note", "wrong"]


class Finding(NamedTuple):
    """Result of one check.

    Attributes:
        section: the group of checks.
        name: the thing checked.
        result: a description of its state.
        state: ``"ok"``, ``"note"`` (not needed for a run on CPUs) or ``"wrong"``.
        remedy: the action to take; empty if there is none.
    """

    section: str
    name: str
    result: str
    state: State = "ok"
    remedy: str = ""


def diagnose(data_dir: Path | None, runs: Path) -> Iterator[Finding]:
    """Run all checks and yield their findings one by one.

    Args:
        data_dir: the folder in which to check data sets. Defaults to checking only those that need no folder.
        runs: the folder of records.
    """
    broken = False
    for finding in _versions():
        broken |= finding.state == "wrong"
        yield finding
    yield from _machine()
    if broken:  # the other checks would fail for the same reason
        yield _writable(runs)
        return
    yield from _devices()
    yield from _data_sets(data_dir)
    yield _writable(runs)
    yield from _training()


def _versions() -> Iterator[Finding]:
    """Check the interpreter, and that every package is installed, in the required range and importable."""
    yield Finding("versions", "python", platform.python_version())
    yield Finding("versions", "ngpd-fl", installed_version("ngpd-fl") or "not installed as a package")
    requirements: dict[str | None, dict[str, Requirement]] = {None: {}, **{extra: {} for extra in MODULES}}
    for requirement in map(Requirement, _requirements()):
        match = re.search(r'extra == "([^"]+)"', str(requirement.marker))
        requirements.get(match and match[1], {})[requirement.name] = requirement
    checked = set()
    for extra, packages in requirements.items():
        if extra is not None and any(installed_version(name) is None for name in packages):
            yield Finding("versions", f"[{extra}]", "not installed", "note", f"optional: {remedy(extra)}")
            continue
        for name, requirement in packages.items():
            if name not in checked:
                checked.add(name)
                yield _package(name, str(requirement.specifier), requirement.specifier.contains)


def _requirements() -> list[str]:
    try:
        return requires("ngpd-fl") or []
    except PackageNotFoundError:
        return []


def _package(name: str, wanted: str, allows: Callable[[str], bool]) -> Finding:
    """Check that a package is installed, in an allowed version, and can be imported."""
    installed, remedy = installed_version(name), f'pip install "{name}{wanted}"'
    if installed is None:
        return Finding("versions", name, "missing", "wrong", remedy)
    if not allows(installed):
        return Finding("versions", name, f"{installed}, should be {wanted}", "wrong", remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(_MODULES.get(name, name.replace("-", "_")))
    except Exception as error:  # a binary built for another version may raise anything
        match = " (torch and torchvision must be built for each other)" if name.startswith("torch") else ""
        return Finding("versions", name, f"{installed}, cannot be imported: {_line(error)}", "wrong", remedy + match)
    return Finding("versions", name, installed)


_MODULES = {"mlflow-skinny": "mlflow", "scikit-learn": "sklearn"}
"""Module names of packages whose module has another name."""


def _machine() -> Iterator[Finding]:
    """Describe the machine."""
    from ngpd_fl.core import machine

    memory = machine.memory()
    yield Finding("machine", "system", platform.platform())
    yield Finding("machine", "processor", f"{machine.processor()}, {machine.cores()} of {os.cpu_count()} cores usable")
    yield Finding("machine", "memory", "not known" if memory is None else f"{memory / 1e9:.1f} GB")


def _devices() -> Iterator[Finding]:
    """Check every device with a matrix product and a batched gradient, as a run computes them."""
    import torch

    threads = torch.get_num_threads()
    default = f"{threads} thread{'s' if threads > 1 else ''}"
    yield _computes("cpu", f"torch's default is {default}; a run takes engine.threads")
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        reason = f": {_line(messages[0].message)}" if messages else ""
        if torch.version.cuda is None:
            reason = ": this torch is built for CPUs only"
        remedy = ""
        if Path("/proc/driver/nvidia/version").exists():
            remedy = "there is an NVIDIA driver: install a torch built for its version of CUDA"
        yield Finding("devices", "cuda", f"none{reason}", "note" if remedy else "ok", remedy)
        return
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory
        yield _computes(f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory / 1e9:.1f} GB")
    if torch.cuda.device_count() > 1:
        yield _copies(torch.cuda.device_count())


def _computes(device: str, description: str) -> Finding:
    """Check that a device computes, and right."""
    import torch
    from torch.func import grad, vmap

    try:
        matrix = torch.ones((32, 32), device=device)
        gradients = vmap(grad(lambda vector: (matrix @ vector).square().sum()))(matrix)
        exact = bool(((matrix @ matrix) == 32).all() and (gradients == 2 * 32 * 32).all())
    except Exception as error:
        result = f"{description}; a matrix product or a batched gradient fails: {_line(error)}"
    else:
        if exact:
            return Finding("devices", device, f"{description}; computes")
        result = f"{description}; computes wrong numbers"
    remedy = "reinstall torch" if device == "cpu" else "install a torch built for this GPU, or use --device cpu"
    return Finding("devices", device, result, "wrong" if device == "cpu" else "note", remedy)


def _copies(count: int) -> Finding:
    """Check that what one GPU sends to another arrives as it was."""
    import torch

    lost = []
    for source, target in permutations((f"cuda:{index}" for index in range(count)), 2):
        numbers = torch.arange(1 << 20, device=source)
        if not torch.equal(numbers.to(target).cpu(), torch.arange(1 << 20)):
            lost.append(f"{source} to {target}")
    if not lost:
        return Finding("devices", "copies", "arrive from each GPU at each other")
    remedy = "switch the IOMMU off in the firmware, or name one GPU in engine.device"
    return Finding("devices", "copies", f"arrive changed: {', '.join(lost)}", "note", remedy)


def _data_sets(data_dir: Path | None) -> Iterator[Finding]:
    """Check which data sets can be read: the digits always, others if a folder is given."""
    from ngpd_fl.config import DataConfig
    from ngpd_fl.data.shakespeare import FILES
    from ngpd_fl.data.vision_sets import VISION_SETS, missing_files

    yield _reads(DataConfig())
    if data_dir is None:
        return
    absent = []
    for name, known in VISION_SETS.items():
        missing, needed = missing_files(name, data_dir)
        if not missing:
            yield _reads(DataConfig(dataset=name, data_dir=data_dir))
        elif len(missing) == needed:
            absent.append(name)
        else:
            result = f"incomplete in {data_dir / known.folder}: no {', '.join(missing)}"
            yield Finding("data", name, result, "wrong", "put the files there, or set data.download=true")
    if absent:
        result = f"{', '.join(absent)}: not in {data_dir}"
        yield Finding("data", "others", result, "note", "set data.download=true to fetch those of torchvision")
    if any((data_dir / name).is_file() for name in FILES):
        yield _reads(DataConfig(dataset="shakespeare", data_dir=data_dir))
    if (data_dir / "dataset.toml").is_file():
        yield _node_folders(data_dir)
    elif (data_dir / "train").is_dir() or (data_dir / "test").is_dir():
        yield _image_folder(data_dir)


def _reads(config: Any) -> Finding:
    """Check that a run could read a data set."""
    from ngpd_fl.config import InputError
    from ngpd_fl.data import load_dataset

    try:
        data = load_dataset(config, seed=0)
    except InputError as error:
        return Finding("data", config.dataset, "cannot be read", "wrong", str(error).partition(": ")[2])
    shape = "x".join(map(str, data.train.inputs.shape[1:]))
    train = len(data.train) + len(data.validation)
    measure, groups = data.task.measure, data.task.num_groups
    result = f"{train:,} + {len(data.test):,} {measure.examples} of {shape}, {groups} {measure.groups}"
    return Finding("data", config.dataset, result)


def _image_folder(data_dir: Path) -> Finding:
    """Check the layout of an image folder; its images are counted but not read, which may take long."""
    from ngpd_fl.config import InputError
    from ngpd_fl.data.image_folder import list_images

    try:
        train, test = list_images(data_dir)
    except InputError as error:
        return Finding("data", "image-folder", "invalid", "wrong", str(error).partition(": ")[2])
    result = f"{len(train.samples):,} + {len(test.samples):,} images, {len(train.classes)} classes"
    return Finding("data", "image-folder", result)


def _node_folders(data_dir: Path) -> Finding:
    """Check the description of node folders and count them; their data are not read."""
    from ngpd_fl.config import InputError
    from ngpd_fl.data.description import Description

    try:
        task = Description.read(data_dir).task
    except InputError as error:
        return Finding("data", "node-folders", "invalid", "wrong", str(error).partition(": ")[2])
    nodes = len([path for path in data_dir.glob("node*") if path.name[4:].isdecimal()])
    result = f"data of {nodes} node{'s' * (nodes != 1)}, {task.num_groups} {task.measure.groups}"
    return Finding("data", "node-folders", result)


def _writable(runs: Path) -> Finding:
    """Check that records can be written; leaves nothing behind."""
    parent = next(folder for folder in (runs.absolute(), *runs.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=parent) as file:
            file.write(b"x")
    except OSError as error:
        result = f"cannot be written ({error.strerror})"
        return Finding("records", f"{runs}/", result, "wrong", "call ngpd-fl in a folder of yours, or give --out")
    return Finding(
        "records", f"{runs}/", "can be written" + ("" if parent == runs.absolute() else " (does not exist yet)")
    )


def _training() -> Iterator[Finding]:
    """Train for two rounds as ``ngpd-fl run`` does, with and without curvature."""
    from ngpd_fl.config import Config
    from ngpd_fl.training.run import run

    for name in ("ngpd", "dsgd"):
        began = time.perf_counter()
        try:
            run_result = run(Config(strategy=name, training={"rounds": 2}, engine={"device": "cpu"}))
        except Exception as error:
            yield Finding("training", name, f"fails: {_line(error)}", "wrong", "report it, with the output of --json")
            continue
        seconds, last = time.perf_counter() - began, run_result.metrics[-1]
        finished = run_result.summary["status"] == "finished"
        result = f"2 rounds of 8 nodes on digits in {seconds:.1f} s, {last.measure.text(last.mean)} right"
        remedy = "" if finished else "report it, with the output of --json"
        yield Finding("training", name, result if finished else "diverges", "ok" if finished else "wrong", remedy)


def _line(error: object) -> str:
    """Return an error as one line of at most 160 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
