"""Lossless PNG files, one per key, in folders named by the first two digits of the key."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.errors import LayoutmarkError

Pixels = npt.NDArray[np.uint8]
KEY_PATTERN = re.compile(r"[0-9a-z][0-9a-z_-]+")


def image_file(root: Path, key: str) -> Path:
    """The file of an image below `root`.  Raises LayoutmarkError for a key that is not a plain name."""
    if not KEY_PATTERN.fullmatch(key):
        raise LayoutmarkError("image key", found=repr(key), expected="letters and digits", do="Make it with image_key.")
    return root / "images" / key[:2] / f"{key}.png"


def encode_png(pixels: Pixels) -> bytes:
    """Encode RGB pixels, uint8 (height, width, 3), as PNG.  Raises LayoutmarkError for anything else."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise LayoutmarkError(
            "image",
            found=f"{pixels.dtype} of shape {pixels.shape}",
            expected="uint8 of shape (height, width, 3)",
            do="Convert the array.",
        )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_png(data: bytes) -> Pixels:
    """Decode a PNG to RGB pixels, uint8 (height, width, 3).  Raises ValueError if the data is damaged."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, struct.error, zlib.error) as error:
        raise ValueError(str(error) or type(error).__name__) from error
