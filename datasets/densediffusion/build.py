"""Layouts of DenseDiffusion (Kim et al. 2023): images with one colour for each segment that a prompt describes.

The images have no legend.  As in the authors' code, colours are sorted by area, largest first, with pure white and
black before all others, and the n-th colour belongs to the n-th description.  The first description, which is empty,
is the background.
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
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import find_files, invalid_input_error, load_plain_pickle
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.references import skip_unreadable
from layoutmark.ingest.scenes import RawInstance, Record, Scene, build_samples
from layoutmark.ingest.values import get_field, parse_text, require_dict
from layoutmark.layout import Canvas, Mask

LICENCE = "Apache-2.0 (DenseDiffusion)"
ARCHIVE, FOLDER = "testset_layout.tar.gz", "testset_layout"
MAX_FILE_BYTES = 1 << 24
LEADING_COLOURS = (0xFFFFFF, 0)
"""White and black."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read `testset.pkl` and the images beside it.  Raises LayoutmarkError if either cannot be read."""
    ledger = Ledger()
    (path, *_) = find_files(source, "testset.pkl", f"suite {name}, source")
    samples = build_samples(name, _iter_records(path), LICENCE, ledger)
    return assemble_suite(samples, ledger)


def _iter_records(path: Path) -> Iterator[Record]:
    read_image = _image_reader(path.parent)
    for number, record in require_dict(load_plain_pickle(path), f"file {path.name}").items():
        yield number, partial(_read_scene, record, number, read_image)


def _image_reader(folder: Path) -> Callable[[str], bytes]:
    """A function that returns the content of an image file by name, and raises Skip if there is no such file."""
    if (folder / FOLDER).is_dir():
        files = {p.name: p.read_bytes() for p in (folder / FOLDER).glob("*.png")}
    else:
        try:
            with tarfile.open(folder / ARCHIVE) as archive:
                members = [m for m in archive.getmembers() if m.isfile() and m.size <= MAX_FILE_BYTES]
                files = {Path(m.name).name: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]
        # A damaged archive can raise nearly anything from inside its decoder: zlib.error, for example.
        except Exception as error:
            raise invalid_input_error(
                f"file {ARCHIVE}", str(error), f"{ARCHIVE}, or the folder {FOLDER}", "Download it again."
            ) from error

    def read_image(name: str) -> bytes:
        if name not in files:
            raise Skip("no picture of its layout")
        return files[name]

    return read_image


def _read_scene(record: Any, number: object, read_image: Callable[[str], bytes]) -> Scene:
    phrases = get_field(record, "segment_descriptions")
    if not isinstance(phrases, list) or not all(isinstance(p, str) for p in phrases):
        raise Skip("segment_descriptions is no list of texts")
    file = io.BytesIO(read_image(f"{number}.png"))
    with skip_unreadable("picture of its layout"), Image.open(file) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    segments = _segment(pixels, len(phrases))
    instances = [
        RawInstance(phrase, None, mask=Mask.from_array(segment))
        for phrase, segment in zip(phrases, segments, strict=True)
        if phrase.strip()
    ]
    prompt = parse_text(get_field(record, "textual_condition"), "textual_condition")
    return Scene(
        prompt, instances, Canvas(pixels.shape[1], pixels.shape[0]), source=f"DenseDiffusion, picture {number}"
    )


def _segment(pixels: npt.NDArray[np.uint8], count: int) -> list[npt.NDArray[np.bool_]]:
    """The `count` masks of an image, in the order of the descriptions."""
    # One number per pixel: sorting rows of three numbers takes a hundred times as long.
    packed = pixels @ np.array([1 << 16, 1 << 8, 1])
    colours, areas = np.unique(packed, return_counts=True)
    if len(colours) != count:
        raise Skip("not as many colours as descriptions")
    order = sorted(range(count), key=lambda k: (int(colours[k]) not in LEADING_COLOURS, -int(areas[k])))
    return [packed == colours[k] for k in order]
