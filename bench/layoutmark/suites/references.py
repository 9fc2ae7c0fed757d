"""Reference pictures beside a built suite: one PNG for each content, a mask as its alpha channel."""

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
from layoutmark.ingest.references import channels
from layoutmark.layout import Reference
from layoutmark.provenance import digest_pixels

FOLDER = "references"
OWN = re.compile(r"[0-9a-f]{64}\.png|\.[0-9a-f]{64}\.png\..*\.tmp")
"""Files that a build writes there, and those that a kill may leave."""
HELD = 128
"""Decoded pictures kept in memory: every row of a run asks for all of them again."""


def write_references(out: Path, references: Iterable[Reference]) -> None:
    """Write each reference to `out`/references/KEY.png.  Raises LayoutmarkError for a key that is not its content."""
    for reference in references:
        pixels = channels(reference.image, reference.mask)
        if digest_pixels(pixels) != reference.key:
            raise LayoutmarkError(
                f"reference {reference.key!r}",
                found="a key that is not the sha256 of its pixels",
                expected="a key made by layoutmark.ingest.references.reference_of",
                do="Mend the builder.",
            )
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        write_bytes(_file(out, reference.key), file.getvalue())


def read_reference(folder: Path, key: str, category: str) -> Reference:
    """Read one back.  Raises LayoutmarkError if the file is gone or holds other pixels."""
    pixels = _pixels(_file(folder, key))
    mask = pixels[..., 3] > 0 if pixels.shape[2] == 4 else None
    return Reference(key, category, pixels[..., :3], mask)


def remove_references(out: Path, kept: set[str]) -> None:
    """Remove the files of an earlier build, and no other."""
    for path in (out / FOLDER).iterdir() if (out / FOLDER).is_dir() else ():
        if OWN.fullmatch(path.name) and path.stem not in kept:
            path.unlink()


def _file(folder: Path, key: str) -> Path:
    return folder / FOLDER / f"{key}.png"


@lru_cache(maxsize=HELD)
def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            pixels = np.array(opened, dtype=np.uint8)
    except Exception as error:  # nearly anything can come from inside a decoder
        raise _damaged(path, f"no readable picture ({type(error).__name__})") from error
    if digest_pixels(pixels) != path.stem:
        raise _damaged(path, "other pixels than it was built with")
    pixels.flags.writeable = False
    return pixels


def _damaged(path: Path, found: str) -> LayoutmarkError:
    return LayoutmarkError(
        f"suite {path.parents[1].name}, {FOLDER}/{path.name}", found=found, expected="the pixels whose sha256 names it",
        do=f"Run: layoutmark suites build {path.parents[1].name} --source FOLDER",
    )  # fmt: skip
