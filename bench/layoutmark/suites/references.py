"""Reference images of a built suite: one PNG file per image, named by its content, with a mask as alpha channel."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.atomic import write_bytes
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.references import add_alpha
from layoutmark.layout import Reference
from layoutmark.provenance import digest_pixels

REFERENCES_FOLDER = "references"
OWN_FILE_PATTERN = re.compile(r"[0-9a-f]{64}\.png|\.[0-9a-f]{64}\.png\..*\.tmp")
"""Files that a build writes there, and temporary files that a killed build leaves behind."""
MAX_CACHED_IMAGES = 128
"""Every row of a run asks for all reference images again."""


def write_references(out: Path, references: Iterable[Reference]) -> None:
    """Write each reference to `out`/references/KEY.png.

    Raises LayoutmarkError for a key that is not the digest of the reference's content.
    """
    for reference in references:
        pixels = add_alpha(reference.image, reference.mask)
        if digest_pixels(pixels) != reference.key:
            raise LayoutmarkError(
                f"reference {reference.key!r}",
                found="a key that is not the sha256 of its pixels",
                expected="a key made by layoutmark.ingest.references.make_reference",
                do="Correct the suite's build.py.",
            )
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        write_bytes(_reference_path(out, reference.key), buffer.getvalue())


def read_reference(folder: Path, key: str, category: str) -> Reference:
    """Read the reference `key` of the suite in `folder`.

    Raises LayoutmarkError if the file is missing, damaged, or has other pixels than its name says.
    """
    pixels = _read_pixels(_reference_path(folder, key))
    mask = pixels[..., 3] > 0 if pixels.shape[2] == 4 else None
    return Reference(key, category, pixels[..., :3], mask)


def remove_references(out: Path, keep: set[str]) -> None:
    """Remove the reference files of an earlier build, except those with a key in `keep`, and no other files."""
    for path in (out / REFERENCES_FOLDER).iterdir() if (out / REFERENCES_FOLDER).is_dir() else ():
        if OWN_FILE_PATTERN.fullmatch(path.name) and path.stem not in keep:
            path.unlink()


def _reference_path(folder: Path, key: str) -> Path:
    return folder / REFERENCES_FOLDER / f"{key}.png"


@lru_cache(maxsize=MAX_CACHED_IMAGES)
def _read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            pixels = np.array(opened, dtype=np.uint8)
    except Exception as error:  # nearly anything can come from inside a decoder
        raise _damaged_file_error(path, f"an unreadable image ({type(error).__name__})") from error
    if digest_pixels(pixels) != path.stem:
        raise _damaged_file_error(path, "other pixels than it was built with")
    pixels.flags.writeable = False
    return pixels


def _damaged_file_error(path: Path, found: str) -> LayoutmarkError:
    suite = path.parents[1].name
    return LayoutmarkError(
        f"suite {suite}, {REFERENCES_FOLDER}/{path.name}",
        found=found,
        expected="the pixels whose sha256 is its name",
        do=f"Run: layoutmark suites build {suite} --source FOLDER",
    )
