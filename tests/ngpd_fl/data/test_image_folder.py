from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.data import Dataset, image_folder, load_dataset
from ngpd_fl.data.tensor_cache import cached_tensors


def load(root: Path, size: int = 8) -> Dataset:
    config = DataConfig(dataset="image-folder", data_dir=root, image_size=size, validation_fraction=0)
    return load_dataset(config, seed=0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The folders whose images were decoded rather than read from the cache."""
    roots: list[str] = []
    decode = image_folder._decode

    def spy(root: Path, paths: list[str], sizes: dict[str, int], size: int) -> dict[str, torch.Tensor]:
        roots.extend(sizes)
        return decode(root, paths, sizes, size)

    monkeypatch.setattr(image_folder, "_decode", spy)
    yield roots


def same(one: Dataset, other: Dataset) -> bool:
    return torch.equal(one.train.inputs, other.train.inputs) and torch.equal(one.test.inputs, other.test.inputs)


def test_channels_are_normalized_by_the_training_images(make_folder: Any) -> None:
    root = make_folder()
    Image.new("RGB", (8, 8), (255, 255, 255)).save(root / "test" / "cat" / "0.bmp")  # must not count
    data = load(root)
    assert data.train.inputs.shape == (8, 3, 8, 8) and data.train.labels.tolist() == [0] * 4 + [1] * 4
    assert data.task.num_outputs == 2
    # Red is 200 in half of the images and 0 in the others, so +1 and -1 after normalization; blue the reverse.
    torch.testing.assert_close(data.train.inputs[0, :, 0, 0], torch.tensor([1.0, 0.0, -1.0]))
    torch.testing.assert_close(data.train.inputs[7, :, 0, 0], torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(data.test.inputs[0, 0, 0, 0], torch.tensor((255 - 100) / 100))


def test_rows_and_columns_stay_rows_and_columns(make_folder: Any) -> None:
    root = make_folder()
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[0, :, 1] = 255  # the top row is green
    Image.fromarray(pixels).save(root / "train" / "cat" / "0.bmp")
    green = load(root).train.inputs[0, 1]
    assert (green[0] > green[1:]).all() and torch.equal(green[1:], torch.full((7, 8), float(green[7, 7])))


def test_odd_sizes_and_modes_become_rgb_of_image_size(make_folder: Any) -> None:
    root = make_folder()
    Image.new("L", (31, 5), 200).save(root / "train" / "cat" / "grey.png")
    Image.new("RGBA", (3, 40), (200, 0, 0, 128)).save(root / "train" / "cat" / "alpha.png")
    Image.new("P", (9, 9)).save(root / "test" / "dog" / "palette.png")
    Image.new("L", (17, 19), 100).save(root / "test" / "dog" / "jpeg.jpg")
    data = load(root, size=12)
    assert data.train.inputs.shape == (10, 3, 12, 12) and data.test.inputs.shape == (10, 3, 12, 12)
    raw = image_folder.read_image_folder(DataConfig(dataset="image-folder", data_dir=root, image_size=12))
    assert torch.all(raw.train.inputs[5] == 200)  # sorted by name: 0 to 3, alpha, gray
    assert raw.train.inputs[4, :, 6, 6].tolist() == [200, 0, 0]


def fill(root: Path, values: Any, suffix: str = "tif") -> None:
    """Put one image more into each class of each split."""
    for index, folder in enumerate(sorted(root.glob("t*/*"))):
        Image.fromarray(values + index).save(folder / f"deep.{suffix}")


def only_deep(root: Path) -> None:
    for path in root.rglob("*.bmp"):
        path.unlink()


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_images_keep_their_levels_and_are_standardized_in_float64(make_folder: Any, kind: type) -> None:
    root = make_folder()
    only_deep(root)
    levels = (30_000 + np.arange(64).reshape(8, 8)).astype(kind)
    fill(root, levels)
    config = DataConfig(dataset="image-folder", data_dir=root, image_size=8, validation_fraction=0)
    data = load_dataset(config, 0, dtype=torch.float64)
    raw = levels.astype(np.float64) + np.array([2, 3])[:, None, None]  # as fill numbers train/cat and train/dog
    pixels = (raw / 65535).astype(np.float32).astype(np.float64) if kind == np.uint16 else raw
    expected = (pixels - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(data.train.inputs[:, 1], expected, rtol=0, atol=1e-12)
    assert len(data.train.inputs[0, 0].unique()) == 64
    again = load(root)  # from the cache
    np.testing.assert_allclose(again.train.inputs[:, 1], expected, atol=1e-6)


def test_gray_of_16_bits_lies_beside_8_bits_on_one_scale(make_folder: Any) -> None:
    root = make_folder()
    fill(root, np.full((8, 8), 200 * 257, dtype=np.uint16), "png")
    images = image_folder.read_image_folder(DataConfig(dataset="image-folder", data_dir=root, image_size=8))
    assert images.white == 1 and images.train.inputs.dtype == torch.float32
    torch.testing.assert_close(images.train.inputs[0, 0, 0, 0], torch.tensor(200 / 255))  # a red cat
    torch.testing.assert_close(images.train.inputs[4, 0, 0, 0], torch.tensor(200 / 255), rtol=1e-3, atol=0)


def test_values_without_a_white_do_not_lie_beside_others(make_folder: Any) -> None:
    root = make_folder()
    fill(root, np.full((8, 8), 0.5, dtype=np.float32))
    with pytest.raises(InputError, match=r"deep.tif has signed, 32-bit or .* no white, but .*0.bmp has one; allowed: "):
        load(root)


def test_a_refused_image_is_named_with_its_mode(make_folder: Any) -> None:
    root = make_folder()
    frames = [Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), (9, 9, 9))]
    frames[0].save(root / "train" / "dog" / "moving.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(
        InputError, match=r"image .*/train/dog/moving.webp cannot be read \(it holds 2 pictures; allowed"
    ):
        load(root)
    assert not (root / ".ngpd_fl-cache").exists()


def test_transparency_is_dropped_with_a_line_said(make_folder: Any, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder()
    Image.new("RGBA", (8, 8), (1, 2, 3, 255)).save(root / "test" / "cat" / "opaque.png")
    load(root)
    assert "transparen" not in caplog.text
    Image.new("LA", (8, 8), (1, 100)).save(root / "train" / "cat" / "glass.png")
    load(root)
    assert "1 images have transparent pixels; the transparency is dropped, the color kept (first: " in caplog.text
    assert "train/cat/glass.png" in caplog.text


def test_files_that_are_not_read_are_told_of(make_folder: Any, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder()
    (root / "train" / "cat" / ".DS_Store").touch()
    load(root)
    assert "not read" not in caplog.text
    Image.new("RGB", (8, 8)).save(root / "train" / "cat" / "9.gif")
    (root / "train" / "cat" / "8.bmp").write_bytes((root / "train" / "cat" / "0.bmp").read_bytes())
    load(root)
    assert "1 files are not read, by their names no images (first: " in caplog.text and "cat/9.gif" in caplog.text


def test_a_cache_of_an_earlier_version_is_not_read(make_folder: Any) -> None:
    """The first version kept what Pillow had made of pictures, clipped to 8 bits and unturned."""
    root = make_folder()
    paths = [path for listing in image_folder.list_images(root) for path, _ in listing.samples]
    digest = hashlib.sha256(b"1 8\n")
    for path in paths:
        stat = os.stat(path)
        digest.update(f"{os.path.relpath(path, root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    stale = {name: torch.zeros((8, 3, 8, 8), dtype=torch.uint8) for name in ("train", "test")}
    cached_tensors([root / ".ngpd_fl-cache" / "8px.safetensors"], digest.hexdigest(), lambda: stale, bool)
    assert load(root).train.inputs.any()


def test_second_load_reads_the_cache(make_folder: Any, decoded: list[str]) -> None:
    root = make_folder()
    first, second = load(root), load(root)
    assert decoded == ["train", "test"] and same(first, second)
    assert [path.name for path in (root / ".ngpd_fl-cache").iterdir()] == ["8px.safetensors"]
    load(root, size=4)
    assert decoded == ["train", "test"] * 2  # another size, another file


@pytest.mark.parametrize("change", ["content", "added", "renamed", "touched"])
def test_changed_folder_makes_the_cache_stale(make_folder: Any, decoded: list[str], change: str) -> None:
    root = make_folder()
    image = root / "train" / "cat" / "0.bmp"
    Image.new("RGB", (8, 8), (50, 50, 50)).save(image)
    for file in root.rglob("*.bmp"):
        os.utime(file, (1e9, 1e9))  # so that only what changes below tells them apart
    before = load(root)
    if change == "content":
        Image.new("RGB", (8, 8), (0, 255, 0)).save(image)
    elif change == "added":
        Image.new("RGB", (8, 8), (0, 255, 0)).save(image.with_name("4.bmp"))
    elif change == "renamed":
        image.rename(image.with_name("9.bmp"))
    else:
        os.utime(image, (0, 0))
    after = load(root)
    assert decoded == ["train", "test"] * 2
    assert same(before, after) == (change == "touched")


@pytest.mark.parametrize("damage", ["truncated", "flipped bit", "not safetensors", "empty"])
def test_damaged_cache_is_rebuilt(make_folder: Any, decoded: list[str], damage: str) -> None:
    root = make_folder()
    first = load(root)
    cache = root / ".ngpd_fl-cache" / "8px.safetensors"
    content = bytearray(cache.read_bytes())
    if damage == "flipped bit":
        content[-1] ^= 1
    cache.write_bytes(
        {"truncated": content[:-100], "flipped bit": content, "not safetensors": b"x" * 500, "empty": b""}[damage]
    )
    assert same(first, load(root)) and decoded == ["train", "test"] * 2
    load(root)
    assert decoded == ["train", "test"] * 2  # the new one is whole


@pytest.mark.parametrize(
    "forged",
    [
        {"other": torch.zeros(1)},
        {"train": torch.zeros((8, 3, 8, 8), dtype=torch.uint8)},
        {name: torch.zeros((7, 3, 8, 8), dtype=torch.uint8) for name in ("train", "test")},
        {name: torch.zeros((8, 3, 8, 8), dtype=torch.int64) for name in ("train", "test")},
        {"train": torch.zeros((8, 3, 8, 8)), "test": torch.zeros((8, 3, 8, 8), dtype=torch.uint8)},
    ],
)
def test_a_whole_cache_of_other_tensors_is_rebuilt(
    make_folder: Any, decoded: list[str], forged: dict[str, torch.Tensor]
) -> None:
    root = make_folder()
    first = load(root)
    paths = [path for listing in image_folder.list_images(root) for path, _ in listing.samples]
    (root / ".ngpd_fl-cache" / "8px.safetensors").unlink()
    cached_tensors(
        image_folder._cache_paths(root, 8), image_folder._fingerprint(root, 8, paths), lambda: forged, lambda _: True
    )
    assert same(first, load(root)) and decoded == ["train", "test"] * 2


def test_user_cache_where_the_folder_cannot_be_written(make_folder: Any, decoded: list[str], tmp_path: Path) -> None:
    root = make_folder()
    (root / ".ngpd_fl-cache").write_text("a file here makes the folder unwritable, even for root")
    first, second = load(root), load(root)
    assert decoded == ["train", "test"] and same(first, second)
    assert [path.name for path in (tmp_path / "user-cache" / "ngpd_fl").rglob("*.safetensors")] == ["8px.safetensors"]


def test_no_cache_at_all_is_a_warning(
    make_folder: Any, decoded: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder()
    for file in (root / ".ngpd_fl-cache", tmp_path / "user-cache"):
        file.write_text("in the way")
    assert same(load(root), load(root)) and decoded == ["train", "test"] * 2
    assert "no cache can be written" in caplog.text


def test_no_temporary_file_stays_behind(make_folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    root = make_folder()
    monkeypatch.setattr(os, "replace", fail)
    load(root)
    assert list((root / ".ngpd_fl-cache").iterdir()) == []


def test_missing_folder_is_named(make_folder: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^data.data_dir: image-folder needs the folder that holds it \("):
        load_dataset(DataConfig(dataset="image-folder"), seed=0)
    with pytest.raises(InputError, match=f"^data.data_dir: {tmp_path}/nowhere/train does not hold images"):
        load(tmp_path / "nowhere")
    root = make_folder()
    for image in (root / "test" / "dog").iterdir():
        image.unlink()
    with pytest.raises(InputError, match=f"^data.data_dir: {root}/test does not hold images.*dog"):
        load(root)


def test_train_and_test_must_have_the_same_classes(make_folder: Any) -> None:
    root = make_folder()
    (root / "test" / "dog").rename(root / "test" / "wolf")
    with pytest.raises(InputError, match=r"differ in their classes \(dog, wolf\)"):
        load(root)


def test_unreadable_image_is_named(make_folder: Any) -> None:
    root = make_folder()
    broken = root / "train" / "dog" / "2.bmp"
    broken.write_bytes(broken.read_bytes()[:30])
    with pytest.raises(InputError, match=f"image {broken} cannot be read") as caught:
        load(root)
    assert "\n" not in str(caught.value) and not (root / ".ngpd_fl-cache").exists()


def test_dangling_link_is_named(make_folder: Any) -> None:
    root = make_folder()
    (root / "train" / "dog" / "9.png").symlink_to(root / "nothing.png")
    with pytest.raises(InputError, match="9.png cannot be read"):
        load(root)
