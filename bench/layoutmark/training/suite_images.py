"""Training pictures out of a suite: its samples as captions and layouts, its pictures as it has them or as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.api import Suite
from layoutmark.diffusion.recipe import Renders
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Sample

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
ALIKE = 0.02
"""How far the proportions of a picture may be from those of its layout's canvas, as a share."""

Read = Callable[[], npt.NDArray[np.uint8]]


class LazyPictures:
    """Pictures (n, side, side, 3) that are read and resized when they are asked for; boxes are fractions and stay."""

    def __init__(self, readers: Sequence[Read], side: int) -> None:
        self._readers = readers
        self._side = side

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, side, side, 3)."""
        return (len(self._readers), self._side, self._side, 3)

    def __len__(self) -> int:
        return len(self._readers)

    def __getitem__(self, at: Any, /) -> npt.NDArray[np.uint8]:
        if isinstance(at, slice):
            return np.stack([self._one(read) for read in self._readers[at]])
        return self._one(self._readers[int(at)])

    def _one(self, read: Read) -> npt.NDArray[np.uint8]:
        pixels = read()
        size = (self._side, self._side)
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), dtype=np.uint8)


def suite_pictures(suite: Suite, folder: Path | None, side: int) -> tuple[Renders, int]:
    """Every sample with a picture as a training picture of `side` pixels, and how many samples have none.

    A picture is the suite's own, or a file below `folder` whose name without zeros in front is the sample's id, or its
    id without the suite's name: `coco-val2017-139` is found as `000000000139.jpg`.  A file with other proportions than
    the layout's canvas would put every box in the wrong place, so it counts as none.

    Raises LayoutmarkError if no sample has a picture.
    """
    files = {} if folder is None else _files(folder)
    readers: list[Read] = []
    facts = []
    for sample in suite.samples:
        read = _reader(suite, sample, files)
        if read is not None:
            readers.append(read)
            facts.append(_facts(sample))
    if not readers:
        raise LayoutmarkError(
            f"training pictures of suite {suite.name!r}",
            found="none" if folder is None else f"none of its {len(suite.samples):,} samples in {folder.name!r}",
            expected="pictures of the suite, or files named by its samples", do="Give --pictures FOLDER.",
        )  # fmt: skip
    return Renders(LazyPictures(readers, side), facts), len(suite.samples) - len(readers)


def _files(folder: Path) -> dict[str, Path]:
    return {_key(path.stem): path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS}


def _key(name: str) -> str:
    return name.lstrip("0") or "0"


def _reader(suite: Suite, sample: Sample, files: Mapping[str, Path]) -> Read | None:
    for name in (sample.id, sample.id.removeprefix(f"{suite.name}-")):
        if (path := files.get(_key(name))) is not None:
            return _file_reader(path, sample)
    own = suite.true_image(sample.id)
    return None if own is None else lambda: own


def _file_reader(path: Path, sample: Sample) -> Read | None:
    with Image.open(path) as opened:
        width, height = opened.size  # read from the header alone
    canvas = sample.layout.canvas
    if abs(width / height / (canvas.width / canvas.height) - 1) > ALIKE:
        return None

    def read() -> npt.NDArray[np.uint8]:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)

    return read


def _facts(sample: Sample) -> dict[str, Any]:
    things = [
        {
            "category": instance.category, "phrase": instance.phrase, "box": list(instance.box.xyxy),
            "mask": None if instance.mask is None
            else [instance.mask.height, instance.mask.width, instance.mask.counts],
        }
        for instance in sample.layout.instances
    ]  # fmt: skip
    return {"captions": [sample.prompt], "things": things}
