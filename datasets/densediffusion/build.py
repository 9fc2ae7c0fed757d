"""Layouts of DenseDiffusion (Kim et al. 2023): pictures whose colours are the parts that a prompt names.

The pictures have no legend.  As the authors' code has it, colours are ordered by area, largest first, pure white or
black before all others, and the n-th colour is the n-th description; the first one, empty, is the background.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import field, mapped, plain_pickle, refused, text
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.references import decoded
from layoutmark.ingest.scenes import Record, Scene, Thing, files_at, samples_of
from layoutmark.layout import Canvas, Mask

LICENCE = "Apache-2.0 (DenseDiffusion)"
ARCHIVE, FOLDER = "testset_layout.tar.gz", "testset_layout"
LARGEST = 1 << 24
FIRST = (0xFFFFFF, 0)
"""White and black."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read `testset.pkl` and the pictures beside it.  Raises LayoutmarkError if either cannot be read."""
    ledger = Ledger()
    (path, *_) = files_at(source, "testset.pkl", f"suite {name}, source")
    samples = samples_of(name, _records(path), LICENCE, ledger)
    return built_suite(samples, ledger)


def _records(path: Path) -> Iterator[Record]:
    picture = _pictures(path.parent)
    for number, record in mapped(plain_pickle(path), f"file {path.name}").items():
        yield number, partial(_scene, record, number, picture)


def _pictures(folder: Path) -> Callable[[str], bytes]:
    """How to get a picture's file by its name; raises Skip if it is not there."""
    if (folder / FOLDER).is_dir():
        files = {p.name: p.read_bytes() for p in (folder / FOLDER).glob("*.png")}
    else:
        try:
            with tarfile.open(folder / ARCHIVE) as archive:
                members = [m for m in archive.getmembers() if m.isfile() and m.size <= LARGEST]
                files = {Path(m.name).name: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]
        # A damaged archive can raise nearly anything from inside its decoder: zlib.error, for example.
        except Exception as error:
            raise refused(
                f"file {ARCHIVE}", str(error), f"{ARCHIVE}, or the folder {FOLDER}", "Fetch it again."
            ) from error

    def get(name: str) -> bytes:
        if name not in files:
            raise Skip("no picture of its layout")
        return files[name]

    return get


def _scene(record: Any, number: object, picture: Callable[[str], bytes]) -> Scene:
    phrases = field(record, "segment_descriptions")
    if not isinstance(phrases, list) or not all(isinstance(p, str) for p in phrases):
        raise Skip("segment_descriptions is no list of texts")
    data = io.BytesIO(picture(f"{number}.png"))
    with decoded("picture of its layout"), Image.open(data) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    parts = _parts(pixels, len(phrases))
    things = [Thing(p, None, mask=Mask.from_array(part)) for p, part in zip(phrases, parts, strict=True) if p.strip()]
    prompt = text(field(record, "textual_condition"), "textual_condition")
    return Scene(prompt, things, Canvas(pixels.shape[1], pixels.shape[0]), source=f"DenseDiffusion, picture {number}")


def _parts(pixels: npt.NDArray[np.uint8], count: int) -> list[npt.NDArray[np.bool_]]:
    # One number a pixel: sorting rows of three takes a hundred times as long.
    packed = pixels @ np.array([1 << 16, 1 << 8, 1])
    colours, areas = np.unique(packed, return_counts=True)
    if len(colours) != count:
        raise Skip("not as many colours as descriptions")
    order = sorted(range(count), key=lambda k: (int(colours[k]) not in FIRST, -int(areas[k])))
    return [packed == colours[k] for k in order]
