"""Reference pictures out of COCO's own pictures: a thing's own crop, or the crop of another thing of its category.

The two never meet in one suite.  A method shown a thing's own crop can copy it; what a method makes of another thing of
the same category says how far it follows a likeness.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from layoutmark.door.ledger import Ledger, Skip
from layoutmark.door.references import picture_of, reference_of
from layoutmark.layout import Instance, Reference

from .annotations import Picture
from .selection import Choice

PLACES = ("", "images", "train2017", "val2017")


class Crops(StrEnum):
    """What a reference is cut from."""

    SELF = "own crop"
    CROSS = "crop of another picture"


class Cutter:
    """Cuts the references of one suite; `source` is where its annotations lie, `pictures` are all that these list."""

    def __init__(self, suite: str, crops: Crops, pictures: Iterable[Picture], source: Path) -> None:
        self._suite, self._crops = suite, crops
        self._pictures = {picture.id: picture for picture in pictures}
        self._files = files_at(source)
        self._donors: dict[str, list[tuple[str, Instance]]] = {}
        """Per category the things that can be shown, each with the id of its picture."""

    def admitted(self, candidates: Mapping[str, Choice], ledger: Ledger) -> dict[str, Choice]:
        """The candidates that can have references; the others are skipped in the ledger."""
        there: dict[str, Choice] = {}
        for name, choice in candidates.items():
            if self._pictures[name].file in self._files:
                there[name] = choice
            else:
                ledger.skip("image", name, "its file of pixels is not there")
        if self._crops is Crops.SELF:
            return there
        for name, choice in there.items():
            for instance in choice.instances:
                self._donors.setdefault(instance.category, []).append((name, instance))
        several = {c for c, donors in self._donors.items() if len({name for name, _ in donors}) > 1}
        found = {name: c for name, c in there.items() if {i.category for i in c.instances} <= several}
        for name in there:
            if name not in found:
                ledger.skip("image", name, "no other picture shows a thing of one of its categories")
        return found

    def cut(self, name: str, choice: Choice) -> tuple[Choice, list[Reference], str]:
        """The choice with a reference for every instance, the references, and where they are from.

        Of several donors the one with the smallest sha256 of "SUITE/PICTURE/THING/DONOR" is taken, and none twice in a
        picture while there are others.  Raises Skip if a picture cannot be read or has another size than its record.
        """
        instances, references, told = [], [], []
        used: set[str] = set()
        for instance in choice.instances:
            source, shown = self._donor(name, instance, used)
            used.add(shown.id)
            references.append(self._crop(self._pictures[source], shown))
            instances.append(replace(instance, reference=references[-1].key))
            told.append(f"image {source}, annotation {shown.id}")
        return replace(choice, instances=instances), references, "; ".join(told)

    def _donor(self, name: str, instance: Instance, used: set[str]) -> tuple[str, Instance]:
        if self._crops is Crops.SELF:
            return name, instance
        place = f"{self._suite}/{name}/{instance.id}"
        others = [(other, thing) for other, thing in self._donors[instance.category] if other != name]
        return min(others, key=lambda d: (d[1].id in used, sha256(f"{place}/{d[1].id}".encode()).hexdigest()))

    def _crop(self, picture: Picture, instance: Instance) -> Reference:
        pixels = picture_of(self._files[picture.file], [])
        height, width = pixels.shape[:2]
        if (width, height) != (picture.canvas.width, picture.canvas.height):
            raise Skip("picture has another size than its record")
        x0, y0, x1, y1 = instance.box.cells(width, height)
        mask = None if instance.mask is None else instance.mask.array()[y0:y1, x0:x1]
        return reference_of(pixels[y0:y1, x0:x1], instance.category, mask)


def files_at(source: Path) -> dict[str, Path]:
    """Picture files by name: beside the annotations, in the folder above `annotations/`, or in usual folders there."""
    root = source if source.is_dir() else source.parent
    root = root.parent if root.name == "annotations" else root
    return {path.name: path for place in reversed(PLACES) for path in (root / place).glob("*.jpg")}
