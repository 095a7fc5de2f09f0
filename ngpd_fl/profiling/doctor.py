"""What an installation and a machine can do: versions, devices, data, a folder to write to, one real run.

Nothing is imported before it is tried, so that a broken installation is told as well.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal, NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        section: what it belongs to.
        name: of the thing.
        found: what was found, in words.
        state: ``"ok"``, ``"note"`` (it may be missed, but a CPU run needs it not) or ``"wrong"``.
        remedy: what to do about it.
    """

    section: str
    name: str
    found: str
    state: Literal["ok", "note", "wrong"] = "ok"
    remedy: str = ""


def diagnose(data_dir: Path | None, runs: Path) -> Iterator[Finding]:
    """Yield what is found, one thing after the other.

    Args:
        data_dir: where to look for data sets; none: nowhere.
        runs: the folder that records go to.
    """
    broken = False
    for finding in _versions():
        broken |= finding.state == "wrong"
        yield finding
    yield from _machine()
    if broken:  # all else would only say the same again
        yield _writable(runs)
        return
    yield from _devices()
    yield from _data_sets(data_dir)
    yield _writable(runs)
    yield from _training()


def _versions() -> Iterator[Finding]:
    """Look at the interpreter and at every package that the project needs or can use: there, in range, importable."""
    from packaging.requirements import Requirement

    yield Finding("versions", "python", platform.python_version())
    yield Finding("versions", "ngpd-fl", _version("ngpd-fl") or "not installed as a package")
    for text in _requirements():
        requirement = Requirement(text)
        if requirement.marker is None:
            yield _package(requirement.name, str(requirement.specifier), requirement.specifier.contains)
        elif str(requirement.marker) == 'extra == "tensorboard"':
            there = _version(requirement.name)
            remedy = "" if there else f'pip install "ngpd-fl[{requirement.name}]", if you want it'
            yield Finding("versions", requirement.name, there or "not there", "ok" if there else "note", remedy)


def _requirements() -> list[str]:
    try:
        return requires("ngpd-fl") or []
    except PackageNotFoundError:
        return []


def _package(name: str, wanted: str, allows: Callable[[str], bool]) -> Finding:
    """Look whether a package is there, in a version that is allowed, and can be imported."""
    there, remedy = _version(name), f'pip install "{name}{wanted}"'
    if there is None:
        return Finding("versions", name, "missing", "wrong", remedy)
    if not allows(there):
        return Finding("versions", name, f"{there}, should be {wanted}", "wrong", remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(_MODULES.get(name, name.replace("-", "_")))
    except Exception as error:  # a binary built for another version fails in any way
        match = " (torch and torchvision have to be made for each other)" if name.startswith("torch") else ""
        return Finding("versions", name, f"{there}, cannot be imported: {_line(error)}", "wrong", remedy + match)
    return Finding("versions", name, there)


_MODULES = {"scikit-learn": "sklearn"}
"""Packages that are imported by another name."""


def _machine() -> Iterator[Finding]:
    from ngpd_fl.core import machine

    memory = machine.memory()
    yield Finding("machine", "system", platform.platform())
    yield Finding("machine", "processor", f"{machine.processor()}, {machine.cores()} of {os.cpu_count()} cores usable")
    yield Finding("machine", "memory", "not known" if memory is None else f"{memory / 1e9:.1f} GB")


def _devices() -> Iterator[Finding]:
    """Compute on every device what a run does: a matrix product, and a batched gradient."""
    import torch

    threads = torch.get_num_threads()
    default = f"{threads} thread{'s' if threads > 1 else ''}"
    yield _computes("cpu", f"torch's default is {default}; a run takes engine.threads")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        reason = f": {_line(said[0].message)}" if said else ""
        if torch.version.cuda is None:
            reason = ": this torch is built for CPUs only"
        remedy = ""
        if Path("/proc/driver/nvidia/version").exists():
            remedy = "there is an NVIDIA driver: install a torch that is built for its version of CUDA"
        yield Finding("devices", "cuda", f"none{reason}", "note" if remedy else "ok", remedy)
        return
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory
        yield _computes(f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory / 1e9:.1f} GB")


def _computes(device: str, words: str) -> Finding:
    import torch
    from torch.func import grad, vmap

    try:
        matrix = torch.ones((32, 32), device=device)
        gradients = vmap(grad(lambda vector: (matrix @ vector).square().sum()))(matrix)
        exact = bool(((matrix @ matrix) == 32).all() and (gradients == 2 * 32 * 32).all())
    except Exception as error:
        found = f"{words}; a matrix product or a batched gradient fails: {_line(error)}"
    else:
        if exact:
            return Finding("devices", device, f"{words}; computes")
        found = f"{words}; computes wrong numbers"
    remedy = "reinstall torch" if device == "cpu" else "install a torch built for this GPU, or use --device cpu"
    return Finding("devices", device, found, "wrong" if device == "cpu" else "note", remedy)


def _data_sets(data_dir: Path | None) -> Iterator[Finding]:
    """Look which data sets can be read: the digits always, others where there is a folder to look in."""
    from ngpd_fl.config import DataConfig
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
            found = f"incomplete in {data_dir / known.folder}: no {', '.join(missing)}"
            yield Finding("data", name, found, "wrong", "put the files there, or set data.download=true")
    if absent:
        found, remedy = f"{', '.join(absent)}: not in {data_dir}", "data.download=true fetches what torchvision offers"
        yield Finding("data", "others", found, "note", remedy)
    if (data_dir / "dataset.toml").is_file():
        yield _node_folders(data_dir)
    elif (data_dir / "train").is_dir() or (data_dir / "test").is_dir():
        yield _image_folder(data_dir)


def _reads(config: Any) -> Finding:
    """Read a data set as a run does."""
    from ngpd_fl.config import InputError
    from ngpd_fl.data import load_dataset

    try:
        data = load_dataset(config, seed=0)
    except InputError as error:
        return Finding("data", config.dataset, "cannot be read", "wrong", str(error).partition(": ")[2])
    shape = "x".join(map(str, data.train.inputs.shape[1:]))
    train = len(data.train) + len(data.validation)
    measure, groups = data.task.measure, data.task.num_groups
    found = f"{train:,} + {len(data.test):,} {measure.examples} of {shape}, {groups} {measure.groups}"
    return Finding("data", config.dataset, found)


def _image_folder(data_dir: Path) -> Finding:
    """Count the images of a folder; they are not read, which may take long."""
    from ngpd_fl.config import InputError
    from ngpd_fl.data.image_folder import list_images

    try:
        train, test = list_images(data_dir)
    except InputError as error:
        return Finding("data", "image-folder", "not as it should be", "wrong", str(error).partition(": ")[2])
    words = f"{len(train.samples):,} + {len(test.samples):,} images, {len(train.classes)} classes"
    return Finding("data", "image-folder", words)


def _node_folders(data_dir: Path) -> Finding:
    """Look which nodes' data are here; they are not read."""
    from ngpd_fl.config import InputError
    from ngpd_fl.data.description import Description

    try:
        task = Description.read(data_dir).task
    except InputError as error:
        return Finding("data", "node-folders", "not as it should be", "wrong", str(error).partition(": ")[2])
    nodes = len([path for path in data_dir.glob("node*") if path.name[4:].isdecimal()])
    words = f"data of {nodes} node{'s' * (nodes != 1)}, {task.num_groups} {task.measure.groups}"
    return Finding("data", "node-folders", words)


def _writable(runs: Path) -> Finding:
    """Look whether records can be written, and leave nothing behind."""
    place = next(folder for folder in (runs.absolute(), *runs.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
    except OSError as error:
        words = f"cannot be written ({error.strerror})"
        return Finding("records", f"{runs}/", words, "wrong", "call ngpd-fl in a folder of yours, or give --out")
    return Finding("records", f"{runs}/", "can be written" + ("" if place == runs.absolute() else " (not there yet)"))


def _training() -> Iterator[Finding]:
    """Train for two rounds as ``ngpd-fl run`` does, with and without curvature."""
    from ngpd_fl.config import Config
    from ngpd_fl.training.run import run

    for name in ("ngpd", "dsgd"):
        began = time.perf_counter()
        try:
            result = run(Config(strategy=name, training={"rounds": 2}, engine={"device": "cpu"}))
        except Exception as error:
            yield Finding("training", name, f"fails: {_line(error)}", "wrong", "report it, with the output of --json")
            continue
        seconds, last = time.perf_counter() - began, result.metrics[-1]
        finished = result.summary["status"] == "finished"
        words = f"2 rounds of 8 nodes on digits in {seconds:.1f} s, {last.measure.text(last.mean)} right"
        remedy = "" if finished else "report it, with the output of --json"
        yield Finding("training", name, words if finished else "diverges", "ok" if finished else "wrong", remedy)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _line(error: object) -> str:
    """Return an error in one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
