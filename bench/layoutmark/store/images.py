"""Pixels as lossless PNG files, one per key, in folders named by the first two digits of the key."""

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
KEY = re.compile(r"[0-9a-z][0-9a-z_-]+")


def image_file(root: Path, key: str) -> Path:
    """Where the image of `key` lies below `root`.  Raises LayoutmarkError if the key could leave the folder."""
    if not KEY.fullmatch(key):
        raise LayoutmarkError("image key", found=repr(key), expected="letters and digits", do="Make it with image_key.")
    return root / "images" / key[:2] / f"{key}.png"


def encode(pixels: Pixels) -> bytes:
    """PNG of RGB pixels (height, width, 3), uint8.  Raises LayoutmarkError for anything else."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise LayoutmarkError(
            "image",
            found=f"{pixels.dtype} of shape {pixels.shape}",
            expected="uint8 of shape (height, width, 3)",
            do="Convert it.",
        )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def decode(data: bytes) -> Pixels:
    """All pixels of a PNG, (height, width, 3).  Raises ValueError if it is damaged."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, struct.error, zlib.error) as error:
        raise ValueError(str(error) or type(error).__name__) from error
