"""Image folders: ``train/CLASS/*`` and ``test/CLASS/*``, images of any size; ``picture`` decodes each."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.config.checks import data_folder
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data.dataset import RawDataset, Split
from ngpd_fl.data.picture import AS_THEY_ARE, BYTES, depth, is_transparent, pixels
from ngpd_fl.data.task import Classification, column_statistics
from ngpd_fl.data.tensor_cache import cached_tensors
from ngpd_fl.data.vision import text_of, vision_datasets

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

logger = logging.getLogger(__name__)

WHITE = 255

_TYPES = [{torch.uint8}, {torch.float32}, {torch.float64}]
"""Types of the pixels; all images of a folder have one."""

Result = TypeVar("Result")


def read_image_folder(config: DataConfig) -> RawDataset:
    """Return the images as RGB, resized to ``image_size``; mean and std are those of all images in ``train``.

    Decoding many images is slow, so it is done once: the pixels are kept in a cache beside the data or, where that
    cannot be written, in the user's cache folder.

    Raises:
        InputError: a folder or an image is missing or cannot be read, or train and test differ in their classes.
    """
    folder, size = data_folder(config), config.image_size
    assert folder is not None
    root = folder.resolve()
    train, test = list_images(root)
    images = read_images(root, {"train": train, "test": test}, size)
    mean, std = _channel_statistics(images["train"])
    return RawDataset(
        train=Split(images["train"], torch.tensor(train.targets)),
        test=Split(images["test"], torch.tensor(test.targets)),
        task=Classification(len(train.classes)),
        white=WHITE if images["train"].dtype == torch.uint8 else 1,
        mean=mean,
        std=std,
    )


def read_images(root: Path, listings: Mapping[str, Any], size: int) -> dict[str, Tensor]:
    """Return the pixels of listed images below ``root``, ``[M, 3, size, size]`` each, cached.

    All have one type, that of the deepest among them (see ``picture``): uint8, or float32 in shares of white, or
    float64 as they are.

    Raises:
        InputError: an image cannot be read, is refused, or has no white where others have one.
    """
    samples = [path for listing in listings.values() for path, _ in listing.samples]
    sizes = {name: len(listing.samples) for name, listing in listings.items()}

    def fits(images: dict[str, Tensor]) -> bool:
        shapes = {name: tuple(values.shape) for name, values in images.items()}
        types = {values.dtype for values in images.values()}
        return shapes == {name: (count, 3, size, size) for name, count in sizes.items()} and types in _TYPES

    return cached_tensors(
        _cache_paths(root, size),
        _fingerprint(root, size, samples),
        lambda: _decode(root, samples, sizes, size),
        fits,
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
        raise InputError(f"data.data_dir: {folder} does not hold images as CLASS/IMAGE ({text_of(error)})") from error


def _decode(root: Path, paths: Sequence[str], sizes: Mapping[str, int], size: int) -> dict[str, Tensor]:
    """Return the pixels of all images, by the name of the split, of which each has so many of ``paths``."""
    logger.info("decoding %d images from %s, once", len(paths), root)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter's lock
        kinds = list(pool.map(lambda path: _opened(path, depth), paths))
        deepest = max(kinds, key=lambda kind: kind.itemsize)
        bounded = [path for path, kind in zip(paths, kinds, strict=True) if kind != AS_THEY_ARE]
        if deepest == AS_THEY_ARE and bounded:
            raise InputError(
                f"data.data_dir: image {paths[kinds.index(deepest)]} has signed, 32-bit or floating-point values, "
                f"which have no white, but {bounded[0]} has one; allowed: all images of one of these sorts"
            )
        arrays = {name: np.empty((count, 3, size, size), dtype=deepest) for name, count in sizes.items()}
        rows = [row for array in arrays.values() for row in array]

        def fill(path: str, row: NDArray[Any]) -> bool:
            def read(image: ImageFile) -> bool:
                values = pixels(image, size)
                row[:] = values / WHITE if values.dtype == BYTES != deepest else values
                return values.dtype == BYTES and is_transparent(image)

            return _opened(path, read)

        transparent = [path for path, found in zip(paths, pool.map(fill, paths, rows), strict=True) if found]
    if unread := _not_listed(root, paths, list(sizes)):
        logger.warning("%d files are not read, by their names no images (first: %s)", len(unread), unread[0])
    if transparent:
        logger.warning(
            "%d images have transparent pixels; the transparency is dropped, the color kept (first: %s)",
            len(transparent),
            transparent[0],
        )
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _not_listed(root: Path, paths: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return which files of the splits, hidden ones aside, torchvision left out for their names' endings."""
    files = (path for name in names for path in (root / name).glob("*/**/*") if path.name[0] != "." and path.is_file())
    return sorted(set(map(str, files)) - set(paths))


def _opened(path: str, use: Callable[[ImageFile], Result]) -> Result:
    """Return what ``use`` makes of an open image."""
    from PIL import Image  # slow to import

    try:
        with Image.open(path) as image:
            return use(image)
    except Exception as error:  # Pillow's decoders raise many kinds
        raise InputError(f"data.data_dir: image {path} cannot be read ({text_of(error)})") from error


def _channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and std of ``pixels / white`` in each channel, float64 ``[C]`` each; 1 for a constant channel."""
    if images.dtype != torch.uint8:
        moments = [column_statistics(channel.reshape(-1, 1)) for channel in images.unbind(1)]
        mean, std = (torch.cat(values) for values in zip(*moments, strict=True))
        return mean, std
    levels = torch.arange(WHITE + 1, dtype=torch.float64) / WHITE
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=len(levels)) for channel in images.unbind(1)])
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ levels
    std = (share * (levels - mean[:, None]) ** 2).sum(1).sqrt()
    return mean, std.masked_fill(std == 0, 1.0)  # a channel of one value becomes 0 everywhere


def _fingerprint(root: Path, size: int, paths: Sequence[str]) -> str:
    """Return a digest of the image size and of every file's path, length and time of change."""
    digest = hashlib.sha256(f"2 {size}\n".encode())  # 2: the version of the decoding above
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
