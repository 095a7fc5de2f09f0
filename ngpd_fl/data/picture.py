"""Decoding of one image file: the array type for each of Pillow's modes, and the modes that are refused.

Arrays are RGB. Their type keeps the full depth of the image:

* uint8: at most 8 bits a channel, gray, palette, RGB or CMYK; 255 is white.
* float32: unsigned gray of 9 to 16 bits, divided by the largest value of the file's type (65535 for 16 bits).
* float64: signed or 32-bit integers, and floating-point numbers, which have no white: unchanged, to 24 bits of their
  range.

Pillow cuts 16-bit colors to 8 bits, and 64-bit floating-point numbers to 32: such files are refused. So are files of
several images, since it is unclear which one is meant. In a camera's MPO the others are previews of the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

BYTES, SHARES, AS_THEY_ARE = np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64)

_BITS = {"I;12": 12, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I;16R": 16}
"""Of gray pictures, by the name that Pillow has for how their pixels lie in the file."""

_SAMPLE_FORMAT = 339  # TIFF's tag; 1, also where it is missing: integers without a sign


def depth(image: ImageFile) -> np.dtype[Any]:
    """Return the type of a picture's numbers by the head of its file; no pixel is read.

    Raises:
        ValueError: the picture is refused; the message names its mode.
    """
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ValueError(f"it holds {frames} pictures; allowed: one")
    stored, largest = _stored(image)
    if image.mode == "F":
        if "64" in stored:
            raise ValueError("mode F of 64 bits is read with 32; allowed: 32-bit floating-point numbers")
        return AS_THEY_ARE
    if image.mode == "I" or image.mode.startswith("I;"):
        return SHARES if largest else AS_THEY_ARE
    if ";16" in stored or (largest and largest > 255):
        raise ValueError(f"mode {image.mode} of 16 bits a channel is read with 8; allowed: 8 bits, or gray of 16")
    return BYTES


def pixels(image: ImageFile, size: int) -> NDArray[Any]:
    """Return RGB values ``[3, size, size]`` of the type that ``depth`` tells, upright, resized bilinearly.

    Raises:
        ValueError: the picture is refused.
    """
    from PIL import Image, ImageOps, TiffImagePlugin  # slow to import

    kind, (_, largest) = depth(image), _stored(image)
    # Pillow reads 32 bits without a sign as if they had one.
    wraps = (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and image.mode == "I"
        and image.tag_v2.get(_SAMPLE_FORMAT, (1,)) == (1,)
    )
    image.load()
    upright = ImageOps.exif_transpose(image)  # as the camera was held
    if kind == BYTES:
        values = np.asarray(upright.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
        return values.transpose(2, 0, 1)
    given = np.asarray(upright)
    if not np.isfinite(given).all():
        raise ValueError(f"mode {image.mode} with values that are infinite or not a number")
    low = float(given.min())
    if wraps and low < 0:
        raise ValueError("mode I without a sign, with values from 2^31 on; allowed: values below")
    # Whole numbers would be rounded where they are resized, and float32 has digits for the range only.
    above = Image.fromarray((given - low).astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    gray = low + np.asarray(above).astype(np.float64)
    return np.broadcast_to((gray / largest if largest else gray).astype(kind), (3, size, size))


def is_transparent(image: ImageFile) -> bool:
    """Return whether a picture of at most 8 bits a channel has a pixel that is not opaque."""
    return image.has_transparency_data and bool(np.asarray(image.convert("RGBA").getchannel("A")).min() < 255)


def _stored(image: ImageFile) -> tuple[str, int | None]:
    """Return how Pillow calls the layout of the pixels in the file, and the largest value that they can have."""
    tile = image.tile[0] if getattr(image, "tile", None) else None
    args: Any = () if tile is None else tile.args
    layout = str(args if isinstance(args, str) else next(iter(args or ()), ""))
    if image.format == "PPM" and image.mode != "F":
        own = args[1] if isinstance(args, tuple) and len(args) > 1 and tile and tile.codec_name.startswith("ppm") else 0
        return layout, 65535 if image.mode == "I" else int(own) or None  # Pillow scales gray to 65535 itself
    return layout, 2 ** _BITS[layout] - 1 if layout in _BITS else None
