"""Pictures of every mode keep what is in them, or are refused by a line that names the mode."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ngpd_fl.data.picture import is_transparent, pixels

SIZE = 8
LEVELS = 1000 + np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
"""Few of many: in 8 bits, one or two levels would be left."""


def read(path: Path, size: int = SIZE) -> NDArray[Any]:
    with Image.open(path) as image:
        return pixels(image, size)


def png16(path: Path, color_type: int, channels: int) -> None:
    """Write a PNG of 16 bits a channel, which Pillow cannot write in color."""
    values = np.repeat(LEVELS[..., None], channels, axis=2).astype(">u2")

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", SIZE, SIZE, 16, color_type, 0, 0, 0)
    body = b"".join(b"\0" + row.tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    )


def tiff12(path: Path) -> Path:
    """Write a TIFF of 12 bits, which Pillow only reads."""
    body = bytes.fromhex("".join(f"{level:03x}" for level in LEVELS.flat))
    tags = {256: SIZE, 257: SIZE, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIZE, 279: len(body)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory)
    return path


def saved(path: Path, values: Any, **options: Any) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


@pytest.mark.parametrize(
    "name, options", [("a.png", {}), ("a.tif", {}), ("b.tif", {"compression": "tiff_lzw"}), ("c.tif", {"big": True})]
)
def test_gray_of_16_bits_is_a_share_of_white(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    kind = ">u2" if options.pop("big", False) else "<u2"
    found = read(saved(tmp_path / name, LEVELS.astype(kind), **options))
    assert found.dtype == np.float32 and found.shape == (3, SIZE, SIZE)
    np.testing.assert_array_equal(found, np.broadcast_to((LEVELS / 65535).astype(np.float32), found.shape))


def test_gray_of_12_bits_is_a_share_of_white(tmp_path: Path) -> None:
    np.testing.assert_allclose(read(tiff12(tmp_path / "a.tif"))[0], LEVELS / 4095, atol=1e-7)


@pytest.mark.parametrize("largest", [4095, 65535])
def test_gray_of_a_pgm_file_is_a_share_of_its_own_white(largest: int, tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(f"P5 {SIZE} {SIZE} {largest}\n".encode() + LEVELS.astype(">u2").tobytes())
    np.testing.assert_allclose(read(tmp_path / "a.pgm")[0], LEVELS / largest, atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        LEVELS.astype(np.int32) * 100_003,
        -LEVELS.astype(np.int32),
        LEVELS.astype(np.int32) + 2**30,  # more digits than float32 has
        LEVELS.astype(np.float32) / 7,
    ],
)
def test_integers_of_32_bits_and_floating_point_numbers_stay_as_they_are(values: Any, tmp_path: Path) -> None:
    found = read(saved(tmp_path / "a.tif", values))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found - values.min(), np.broadcast_to(values - values.min(), found.shape), rtol=1e-6)
    smaller = read(tmp_path / "a.tif", 4)
    np.testing.assert_allclose(smaller.mean(), values.mean(), rtol=1e-5)
    assert len(np.unique(smaller[0])) == 16


@pytest.mark.parametrize("color_type, channels, mode", [(2, 3, "RGB"), (6, 4, "RGBA"), (4, 2, "RGBA")])
def test_colors_of_16_bits_are_refused(color_type: int, channels: int, mode: str, tmp_path: Path) -> None:
    png16(tmp_path / "a.png", color_type, channels)
    with pytest.raises(ValueError, match=f"^mode {mode} of 16 bits a channel is read with 8; allowed: 8 bits, or gray"):
        read(tmp_path / "a.png")
    (tmp_path / "a.ppm").write_bytes(f"P6 {SIZE} {SIZE} 1023\n".encode() + bytes(SIZE * SIZE * 6))
    with pytest.raises(ValueError, match="^mode RGB of 16 bits a channel"):
        read(tmp_path / "a.ppm")


def test_what_pillow_would_read_as_something_else_is_refused(tmp_path: Path) -> None:
    holes = LEVELS.astype(np.float32)
    holes[3, 4] = np.nan
    with pytest.raises(ValueError, match="^mode F with values that are infinite or not a number"):
        read(saved(tmp_path / "a.tif", holes))
    large = LEVELS.astype(np.int32)
    large[0, 0] = -5
    saved(tmp_path / "b.tif", large, tiffinfo={339: 1})  # says that there are no signs
    content = (tmp_path / "b.tif").read_bytes()
    at = content.index(struct.pack("<HH", 339, 3))
    (tmp_path / "b.tif").write_bytes(content[: at + 8] + struct.pack("<H", 1) + content[at + 10 :])
    with pytest.raises(ValueError, match="^mode I without a sign, with values from 2.31 on"):
        read(tmp_path / "b.tif")


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_a_file_of_several_pictures_is_refused(suffix: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (0, 90, 180)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="^it holds 3 pictures; allowed: one$"):
        read(tmp_path / f"a.{suffix}")


def test_of_a_cameras_mpo_the_first_picture_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (180, 0)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert abs(read(tmp_path / "a.jpg")[0].astype(int) - 180).max() < 3


@pytest.mark.parametrize(
    "mode, color, expected",
    [
        ("1", 1, [255, 255, 255]),
        ("L", 7, [7, 7, 7]),
        ("LA", (7, 0), [7, 7, 7]),
        ("RGBA", (1, 2, 3, 0), [1, 2, 3]),
        ("P", 0, [0, 0, 0]),
        ("CMYK", (255, 0, 0, 0), [0, 255, 255]),
    ],
)
def test_modes_of_8_bits_become_rgb(mode: str, color: Any, expected: list[int], tmp_path: Path) -> None:
    Image.new(mode, (5, 9), color).save(tmp_path / "a.tif")
    found = read(tmp_path / "a.tif")
    assert found.dtype == np.uint8 and found[:, 4, 4].tolist() == expected


@pytest.mark.parametrize(
    "mode, color, options, transparent",
    [
        ("RGBA", (1, 2, 3, 255), {}, False),
        ("RGBA", (1, 2, 3, 254), {}, True),
        ("LA", (1, 0), {}, True),
        ("P", 0, {"transparency": 0}, True),
        ("RGB", (1, 2, 3), {"transparency": (1, 2, 3)}, True),
        ("RGB", (1, 2, 3), {}, False),
    ],
)
def test_transparency_is_noticed(
    mode: str, color: Any, options: dict[str, Any], transparent: bool, tmp_path: Path
) -> None:
    Image.new(mode, (5, 9), color).save(tmp_path / "a.png", **options)
    with Image.open(tmp_path / "a.png") as image:
        assert is_transparent(image) == transparent


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_pictures_stand_as_the_camera_was_held(suffix: str, orientation: int, tmp_path: Path) -> None:
    """Saved is what such a camera saves: the upright picture, turned or mirrored."""
    upright = np.zeros((16, 16), dtype=np.uint8)
    upright[:8, :4] = 255  # a bar at the top left: no turn or reflection leaves it there
    back = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(np.repeat(np.ascontiguousarray(back)[..., None], 3, axis=2))
    image.save(tmp_path / f"a.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read(tmp_path / f"a.{suffix}", 16)[0] > 127, upright > 127)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_turned_as_well(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    found = read(saved(tmp_path / f"a.{suffix}", LEVELS.astype(np.uint16), exif=exif))
    np.testing.assert_allclose(found[0] * 65535, np.rot90(LEVELS, -1), atol=1e-2)
