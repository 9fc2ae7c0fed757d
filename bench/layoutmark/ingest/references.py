"""Reference pictures out of files, named by their content so that a suite's digest covers their pixels."""

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

FRAMES = "first of several frames taken"
TURNED = "turned as its EXIF says"
COLOURS = "colours converted to RGB"
SCALED = "scaled down"


@contextmanager
def decoded(what: str, gone: str = "no such picture") -> Iterator[None]:
    """Around the opening of a picture file: raises Skip, with `gone` if it is not there, for whatever goes wrong."""
    try:
        yield
    except FileNotFoundError as error:
        raise Skip(gone) from error
    # A damaged picture can raise nearly anything from inside a decoder: TypeError and KeyError, for example.
    except Exception as error:
        raise Skip(f"{what} cannot be read") from error


def picture_of(path: Path, repairs: list[str], longest: int | None = None) -> npt.NDArray[np.uint8]:
    """RGB pixels of a picture file, (height, width, 3); what had to be done for them is told in `repairs`.

    With `longest` a picture with a longer side, in pixels, is scaled down to it (Lanczos).
    Raises Skip if the file is not there or no picture.
    """
    with decoded("picture"), Image.open(path) as opened:
        if getattr(opened, "n_frames", 1) > 1:
            repairs.append(FRAMES)
        upright = ImageOps.exif_transpose(opened)
        if opened.getexif().get(0x0112, 1) != 1:
            repairs.append(TURNED)
        if upright.mode != "RGB":
            repairs.append(COLOURS)
        picture = upright.convert("RGB")
    if longest is not None and max(picture.size) > longest:
        repairs.append(SCALED)
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.array(picture, dtype=np.uint8)


def reference_of(image: npt.NDArray[np.uint8], category: str, mask: npt.NDArray[np.bool_] | None = None) -> Reference:
    """A reference of RGB pixels (height, width, 3) and a mask of its subject (height, width), keyed by both."""
    return Reference(digest_pixels(channels(image, mask)), category, image, mask)


def channels(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.uint8]:
    """Pixels with the mask, if there is one, as a fourth channel of 0 and 255."""
    return image if mask is None else np.dstack([image, mask.astype(np.uint8) * np.uint8(255)])
