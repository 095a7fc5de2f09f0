"""The data sets that torchvision reads: MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100 and SVHN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ngpd_fl.config.checks import data_folder
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.config.text_files import expanded
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.task import Classification
from ngpd_fl.data.vision import text_of, vision_datasets


@dataclass(frozen=True)
class VisionSet:
    """Name and layout of one data set in torchvision.

    Attributes:
        class_name: the class in ``torchvision.datasets``.
        folder: the folder of its files inside ``data_dir`` (torchvision's layout).
        num_classes: C, the classes of the problem.
        mean: of the training images' pixels, scaled to [0, 1], in each channel, rounded to four digits: the numbers
            that are in common use for the set (and can be computed from its training images).
        std: likewise the standard deviation.
        splits: training and test split as torchvision's class wants them.
        labels: the attribute that holds the labels.
        channel_axis: of ``[M, ...]`` pixels; None where they have no channel axis.
    """

    class_name: str
    folder: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})
    labels: str = "targets"
    channel_axis: int | None = None


VISION_SETS = {
    # LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE, 1998:
    # 60,000 + 10,000 images of 28x28 pixels.
    "mnist": VisionSet("MNIST", "MNIST/raw", 10, mean=(0.1307,), std=(0.3081,)),
    # Xiao, Rasul, Vollgraf, "Fashion-MNIST", arXiv 1708.07747: 60,000 + 10,000 images of 28x28 pixels.
    "fashion-mnist": VisionSet("FashionMNIST", "FashionMNIST/raw", 10, mean=(0.2860,), std=(0.3530,)),
    # Krizhevsky, "Learning multiple layers of features from tiny images", 2009: 50,000 + 10,000 images of 32x32x3.
    "cifar10": VisionSet(
        "CIFAR10",
        "cifar-10-batches-py",
        10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        channel_axis=3,
    ),
    "cifar100": VisionSet(  # its 100 fine classes
        "CIFAR100",
        "cifar-100-python",
        100,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        channel_axis=3,
    ),
    # Netzer et al., "Reading digits in natural images with unsupervised feature learning", NIPS workshop, 2011:
    # 73,257 + 26,032 images of 32x32x3; the split "extra" is not used.
    "svhn": VisionSet(
        "SVHN",
        "",
        10,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        splits=({"split": "train"}, {"split": "test"}),
        labels="labels",
        channel_axis=1,
    ),
}


def read_vision_set(config: DataConfig) -> RawDataset:
    """Return the set that ``config.dataset`` names, one of ``VISION_SETS``, as it lies in ``data_dir``.

    Raises:
        InputError: the files are missing (and cannot be downloaded) or damaged.
    """
    name, known = config.dataset, VISION_SETS[config.dataset]
    root = data_folder(config)
    assert root is not None
    files = root / known.folder
    reader = getattr(vision_datasets(), known.class_name)
    try:
        train, test = (_split(reader(root, download=config.download, **which), known) for which in known.splits)
    except Exception as error:  # a damaged file can fail anywhere in torchvision's parser
        if config.download:
            problem = f"cannot be downloaded to or read from {files} ({text_of(error)}); check the network connection"
        elif isinstance(error, RuntimeError) and "not found" in str(error):
            # Where torchvision knows a file's checksum, it does not say whether the file is missing or damaged.
            damaged = ", or is damaged there" if "corrupted" in str(error) and files.exists() else ""
            problem = f"is not in {files}{damaged}; give its folder with --data-dir or set data.download=true"
        else:
            problem = f"cannot be read from {files} ({text_of(error)}); delete the files and set data.download=true"
        raise InputError(f"data.data_dir: {name} {problem}") from error
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (known.mean, known.std))
    return RawDataset(train, test, Classification(known.num_classes), 255, mean, std)


def _split(part: Any, known: VisionSet) -> Split:
    """Return torchvision's arrays, lists or tensors as uint8 ``[M, C, H, W]`` and int64 ``[M]``."""
    pixels: Tensor = torch.as_tensor(part.data)
    pixels = pixels[:, None] if known.channel_axis is None else pixels.movedim(known.channel_axis, 1)
    return Split(pixels.contiguous(), torch.as_tensor(getattr(part, known.labels), dtype=torch.int64))


def missing_files(name: str, data_dir: Path) -> tuple[list[str], int]:
    """Return which files of a set, one of ``VISION_SETS``, are not in ``data_dir``, and how many it has in all."""
    known = VISION_SETS[name]
    reader = getattr(vision_datasets(), known.class_name)
    if hasattr(reader, "resources"):  # packed files, unpacked beside
        files = [url.rpartition("/")[2].removesuffix(".gz") for url, _ in reader.resources]
    elif hasattr(reader, "split_list"):
        files = [reader.split_list[which["split"]][1] for which in known.splits]
    else:
        files = [file for file, _ in reader.train_list + reader.test_list] + [reader.meta["filename"]]
    folder = expanded(data_dir) / known.folder
    return [file for file in files if not (folder / file).is_file()], len(files)
