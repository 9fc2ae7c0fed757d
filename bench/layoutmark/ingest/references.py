"""Reference images read from files, named by their content so that a suite's digest covers their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from layoutmark.ingest.ledger import Skip
from layoutmark.layout import Reference
from layoutmark.provenance import digest_pixels

FIRST_FRAME_TAKEN = "first of several frames taken"
ROTATED_BY_EXIF = "turned as its EXIF says"
CONVERTED_TO_RGB = "colours converted to RGB"
SCALED_DOWN = "scaled down"
EXIF_ORIENTATION = 0x0112


@contextmanager
def skip_unreadable(what: str, missing_reason: str = "no such picture") -> Iterator[None]:
    """Around code that opens an image file: raise Skip for any error.

    The reason is `missing_reason` if the file does not exist, else "`what` cannot be read".
    """
    try:
        yield
    except FileNotFoundError as error:
        raise Skip(missing_reason) from error
    # A damaged image can raise nearly anything from inside a decoder: TypeError and KeyError, for example.
    except Exception as error:
        raise Skip(f"{what} cannot be read") from error


def load_image(path: Path, repairs: list[str], max_side: int | None = None) -> npt.NDArray[np.uint8]:
    """Load an image file as RGB pixels, uint8, shape (height, width, 3), 0..255.

    EXIF rotation is applied, other colour modes are converted, and only the first frame is taken; each of these adds
    a reason to `repairs`.  With `max_side`, in pixels, a larger image is scaled down to it (Lanczos).
    Raises Skip if the file does not exist or is not a readable image.
    """
    with skip_unreadable("picture"), Image.open(path) as opened:
        if getattr(opened, "n_frames", 1) > 1:
            repairs.append(FIRST_FRAME_TAKEN)
        upright = ImageOps.exif_transpose(opened)
        if opened.getexif().get(EXIF_ORIENTATION, 1) != 1:
            repairs.append(ROTATED_BY_EXIF)
        if upright.mode != "RGB":
            repairs.append(CONVERTED_TO_RGB)
        image = upright.convert("RGB")
    if max_side is not None and max(image.size) > max_side:
        repairs.append(SCALED_DOWN)
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return np.array(image, dtype=np.uint8)


def make_reference(image: npt.NDArray[np.uint8], category: str, mask: npt.NDArray[np.bool_] | None = None) -> Reference:
    """A reference whose key is the digest of its pixels and mask.

    `image` is RGB, shape (height, width, 3), 0..255; `mask`, shape (height, width), marks its subject.

    >>> pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    >>> make_reference(pixels, "cat").key == make_reference(pixels, "cat", np.ones((4, 6), dtype=bool)).key
    False
    """
    return Reference(digest_pixels(add_alpha(image, mask)), category, image, mask)


def add_alpha(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.uint8]:
    """Append the mask as a fourth channel of 0 and 255; without a mask the image is returned unchanged.

    >>> add_alpha(np.zeros((1, 2, 3), dtype=np.uint8), np.array([[True, False]])).tolist()
    [[[0, 0, 0, 255], [0, 0, 0, 0]]]
    """
    return image if mask is None else np.dstack([image, mask.astype(np.uint8) * np.uint8(255)])
