"""A folder of images: ``train/CLASS/*`` and ``test/CLASS/*``, any size, any format that Pillow reads."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.reading import expanded
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.tensor_cache import cached_tensors
from ngpd_fl.data.vision import one_line, vision_datasets

logger = logging.getLogger(__name__)

WHITE = 255


def read_image_folder(config: DataConfig) -> RawDataset:
    """Return the images as RGB, resized to ``image_size``; mean and std are those of all images in ``train``.

    Decoding many images is slow, so it is done once: the pixels are kept in a cache beside the data or, where that
    cannot be written, in the user's cache folder.

    Raises:
        InputError: a folder or an image is missing or cannot be read, or train and test differ in their classes.
    """
    if config.data_dir is None:
        raise InputError("data.data_dir: image-folder needs the folder that holds train/ and test/; give --data-dir")
    root, size = expanded(config.data_dir).resolve(), config.image_size
    train, test = list_images(root)
    pixels = read_images(root, {"train": train, "test": test}, size)
    mean, std = _channel_statistics(pixels["train"])
    return RawDataset(
        train=Split(pixels["train"], torch.tensor(train.targets)),
        test=Split(pixels["test"], torch.tensor(test.targets)),
        num_classes=len(train.classes),
        white=WHITE,
        mean=mean,
        std=std,
    )


def read_images(root: Path, listings: Mapping[str, Any], size: int) -> dict[str, Tensor]:
    """Return the pixels of listed images below ``root``, uint8 ``[M, 3, size, size]`` each, cached."""
    samples = [path for listing in listings.values() for path, _ in listing.samples]
    return cached_tensors(
        _cache_paths(root, size),
        _fingerprint(root, size, samples),
        lambda: {name: _decode(listing, size) for name, listing in listings.items()},
    )


def list_images(root: Path) -> tuple[Any, Any]:
    """Return torchvision's ``ImageFolder`` of train and of test; no image is read.

    Raises:
        InputError: a folder is missing, or they differ in their classes.
    """
    train, test = list_classes(root / "train"), list_classes(root / "test")
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise InputError(f"data.data_dir: {root}/train and {root}/test differ in their classes ({', '.join(odd[:5])})")
    return train, test


def list_classes(folder: Path) -> Any:
    """Return torchvision's ``ImageFolder``: the files below ``folder``, sorted, and their classes."""
    datasets = vision_datasets()
    try:
        return datasets.ImageFolder(folder)
    except OSError as error:
        raise InputError(f"data.data_dir: {folder} does not hold images as CLASS/IMAGE ({one_line(error)})") from error


def _decode(listing: Any, size: int) -> Tensor:
    """Return the pixels of all images, uint8 ``[M, 3, size, size]``."""
    from PIL import Image  # slow to import

    pixels = np.empty((len(listing.samples), 3, size, size), dtype=np.uint8)

    def decode(row: int) -> None:
        path, _ = listing.samples[row]
        try:
            image = listing.loader(path).resize((size, size), Image.Resampling.BILINEAR)  # RGB
        except Exception as error:  # Pillow's decoders raise many kinds
            raise InputError(f"data.data_dir: image {path} cannot be read ({one_line(error)})") from error
        pixels[row] = np.asarray(image).transpose(2, 0, 1)

    logger.info("decoding %d images from %s, once", len(pixels), listing.root)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter's lock
        for _ in pool.map(decode, range(len(pixels))):
            pass  # raises what decode raised
    return torch.from_numpy(pixels)


def _channel_statistics(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and std of ``pixels / WHITE`` in each channel, float32 ``[C]`` each, from the channel's histogram."""
    levels = torch.arange(WHITE + 1, dtype=torch.float64) / WHITE
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=len(levels)) for channel in pixels.unbind(1)])
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ levels
    std = (share * (levels - mean[:, None]) ** 2).sum(1).sqrt()
    std[std == 0] = 1.0  # a channel of one value becomes 0 everywhere
    return mean.float(), std.float()


def _fingerprint(root: Path, size: int, paths: Sequence[str]) -> str:
    """Return a digest of the image size and of every file's path, length and time of change."""
    digest = hashlib.sha256(f"1 {size}\n".encode())  # 1: the version of the decoding above
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError as error:
            raise InputError(f"data.data_dir: image {path} cannot be read ({error.strerror})") from error
        digest.update(
            f"{os.path.relpath(path, root)} {stat.st_size} {stat.st_mtime_ns}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def _cache_paths(root: Path, size: int) -> list[Path]:
    """Return where the cache may lie: beside the data, or else in the user's cache folder."""
    folders = [root / ".ngpd_fl-cache"]
    try:
        user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folders.append(user_cache / "ngpd_fl" / hashlib.sha256(os.fsencode(root)).hexdigest()[:16])
    except RuntimeError:  # a user without a home
        pass
    return [folder / f"{size}px.safetensors" for folder in folders]
