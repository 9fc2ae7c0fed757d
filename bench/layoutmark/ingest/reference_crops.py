"""References cut out of a suite's own pictures: a thing's own crop, or that of a like thing in another picture.

The two never meet in one suite.  A method shown a thing's own crop can copy it; what a method makes of another thing of
the same kind says how far it follows a likeness.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.references import picture_of, reference_of
from layoutmark.layout import Canvas, Instance, Reference


class Crops(StrEnum):
    """What a reference is cut from."""

    SELF = "own crop"
    CROSS = "crop of another picture"


class Cutter:
    """Cuts the references of one suite.

    `files` are the pictures' files by the pictures' ids, `sizes` what the source says of their sizes, where it does.
    Things are alike that have one category and one phrase.
    """

    def __init__(self, suite: str, crops: Crops, files: Mapping[str, Path], sizes: Mapping[str, Canvas]) -> None:
        self._suite, self._crops, self._files, self._sizes = suite, crops, files, sizes
        self._donors: dict[tuple[str, str], list[tuple[str, Instance]]] = {}
        """Per category and phrase the things that can be shown, each with the id of its picture."""

    def admitted(self, candidates: Mapping[str, Sequence[Instance]], ledger: Ledger, kind: str) -> set[str]:
        """Ids of the candidates that can have references; the others are skipped in the ledger as one of `kind`."""
        there: dict[str, Sequence[Instance]] = {}
        for name, instances in candidates.items():
            if name in self._files:
                there[name] = instances
            else:
                ledger.skip(kind, name, "its file of pixels is not there")
        if self._crops is Crops.SELF:
            return set(there)
        for name, instances in there.items():
            for instance in instances:
                self._donors.setdefault(_like(instance), []).append((name, instance))
        several = {like for like, donors in self._donors.items() if len({name for name, _ in donors}) > 1}
        found = {name for name, instances in there.items() if {_like(i) for i in instances} <= several}
        for name in there:
            if name not in found:
                ledger.skip(kind, name, "no other picture shows a thing of one of its categories")
        return found

    def cut(self, name: str, instances: Iterable[Instance]) -> tuple[list[Instance], list[Reference], str]:
        """The instances, each with a reference, the references, and where they are from.

        Of several donors the one with the smallest sha256 of "SUITE/PICTURE/THING/DONOR'S PICTURE/DONOR" is taken, and
        none twice in a picture while there are others.  Raises Skip if a picture cannot be read or has another size
        than its record.
        """
        cut, references, told = [], [], []
        used: set[tuple[str, str]] = set()
        for instance in instances:
            source, shown = self._donor(name, instance, used)
            used.add((source, shown.id))
            references.append(self._crop(source, shown))
            cut.append(replace(instance, reference=references[-1].key))
            told.append(f"picture {source}, thing {shown.id}")
        return cut, references, "; ".join(told)

    def _donor(self, name: str, instance: Instance, used: set[tuple[str, str]]) -> tuple[str, Instance]:
        if self._crops is Crops.SELF:
            return name, instance
        place = f"{self._suite}/{name}/{instance.id}"

        def order(donor: tuple[str, Instance]) -> tuple[bool, str]:
            other, thing = donor
            return (other, thing.id) in used, sha256(f"{place}/{other}/{thing.id}".encode()).hexdigest()

        return min((donor for donor in self._donors[_like(instance)] if donor[0] != name), key=order)

    def _crop(self, picture: str, instance: Instance) -> Reference:
        pixels = picture_of(self._files[picture], [])
        height, width = pixels.shape[:2]
        if picture in self._sizes and self._sizes[picture] != Canvas(width, height):
            raise Skip("picture has another size than its record")
        x0, y0, x1, y1 = instance.box.cells(width, height)
        mask = None
        if instance.mask is not None and (instance.mask.width, instance.mask.height) == (width, height):
            mask = instance.mask.array()[y0:y1, x0:x1]
        return reference_of(pixels[y0:y1, x0:x1], instance.category, mask)


def pictures_at(root: Path, places: Iterable[str]) -> dict[str, Path]:
    """JPEG files by name, in `root` or in folders of it; a name that is used twice means the first place's."""
    return {path.name: path for place in reversed(tuple(places)) for path in (root / place).glob("*.jpg")}


def _like(instance: Instance) -> tuple[str, str]:
    return instance.category, instance.phrase
