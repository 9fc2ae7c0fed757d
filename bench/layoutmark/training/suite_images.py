"""Training images from a suite: its samples give captions and layouts; images come from the suite or from files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.api import Suite
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Sample

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MAX_ASPECT_DIFFERENCE = 0.02
"""Largest relative difference between the aspect ratios of an image and its layout's canvas."""

ReadFn = Callable[[], npt.NDArray[np.uint8]]


class LazyImages:
    """Images (n, side, side, 3) that are read and resized on access; boxes are fractions and do not change."""

    def __init__(self, readers: Sequence[ReadFn], side: int) -> None:
        self._readers = readers
        self._side = side

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, side, side, 3)."""
        return (len(self._readers), self._side, self._side, 3)

    def __len__(self) -> int:
        return len(self._readers)

    def __getitem__(self, index: Any, /) -> npt.NDArray[np.uint8]:
        if isinstance(index, slice):
            return np.stack([self._read(read) for read in self._readers[index]])
        return self._read(self._readers[int(index)])

    def _read(self, read: ReadFn) -> npt.NDArray[np.uint8]:
        pixels = read()
        size = (self._side, self._side)
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), dtype=np.uint8)


def load_suite_images(suite: Suite, folder: Path | None, side: int) -> tuple[TrainingImages, int]:
    """The samples with an image as training images of `side` pixels, and the number of samples without one.

    An image is the suite's own, or a file below `folder` whose name, without leading zeros, is the sample's id with or
    without the suite's name: `coco-val2017-139` matches `000000000139.jpg`.  A file whose aspect ratio differs from the
    canvas would shift every box, so it is not used.

    Raises LayoutmarkError if no sample has an image.
    """
    files = {} if folder is None else _find_files(folder)
    readers: list[ReadFn] = []
    annotations = []
    for sample in suite.samples:
        read = _reader(suite, sample, files)
        if read is not None:
            readers.append(read)
            annotations.append(_annotation(sample))
    if not readers:
        raise LayoutmarkError(
            f"training images of suite {suite.name!r}",
            found="none" if folder is None else f"none of its {len(suite.samples):,} samples in {folder.name!r}",
            expected="images in the suite, or files named after its samples", do="Pass --images FOLDER.",
        )  # fmt: skip
    return TrainingImages(LazyImages(readers, side), annotations), len(suite.samples) - len(readers)


def _find_files(folder: Path) -> dict[str, Path]:
    return {_key(path.stem): path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES}


def _key(name: str) -> str:
    return name.lstrip("0") or "0"


def _reader(suite: Suite, sample: Sample, files: Mapping[str, Path]) -> ReadFn | None:
    for name in (sample.id, sample.id.removeprefix(f"{suite.name}-")):
        if (path := files.get(_key(name))) is not None:
            return _file_reader(path, sample)
    true_image = suite.true_image(sample.id)
    return None if true_image is None else lambda: true_image


def _file_reader(path: Path, sample: Sample) -> ReadFn | None:
    with Image.open(path) as image:
        width, height = image.size  # only the header is read
    canvas = sample.layout.canvas
    if abs(width / height / (canvas.width / canvas.height) - 1) > MAX_ASPECT_DIFFERENCE:
        return None

    def read() -> npt.NDArray[np.uint8]:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)

    return read


def _annotation(sample: Sample) -> dict[str, Any]:
    things = [
        {
            "category": instance.category, "phrase": instance.phrase, "box": list(instance.box.xyxy),
            "mask": None if instance.mask is None
            else [instance.mask.height, instance.mask.width, instance.mask.counts],
        }
        for instance in sample.layout.instances
    ]  # fmt: skip
    return {"captions": [sample.prompt], "things": things}
