"""Suites from Open Images' tables of boxes.

Open Images lists the things of the classes that people looked for in a picture, and no others.  A sample therefore
says which categories were verified, present or absent (`Sample.judged`): things of other categories are no mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image

from layoutmark.api import BuiltSuite, unknown_name
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import refused
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import marks
from layoutmark.ingest.phrases import sentence
from layoutmark.ingest.reference_crops import Crops, Cutter, pictures_at
from layoutmark.ingest.references import decoded
from layoutmark.layout import Canvas, Instance, Layout, Mask, Reference, Sample

from .hierarchy import Hierarchy, read_hierarchy
from .masks import read_masks
from .tables import NO_SIZE, Found, Picture, read_boxes, read_classes, read_labels, read_pictures, read_sizes
from .vocabulary import of_coco, own

ANNOTATIONS = "annotations CC-BY-4.0 (Google LLC)"
BOXES = "*annotations-bbox*.csv"
CLASSES = "*class-descriptions*.csv"
LEAST_SIDE = 1 / 8
LEFT_OUT = "boxes that are small or of no COCO class left out of the layout"


@dataclass(frozen=True, slots=True)
class Rule:
    """One suite: COCO's vocabulary or its own, how many instances with what least side, how many pictures."""

    coco: bool = False
    least: int = 1
    most: int | None = None
    side: float = 0.0
    pictures: int | None = None


RULES = {
    "openimages": Rule(),
    "openimages-500": Rule(True, 2, 6, LEAST_SIDE, 500),
    "openimages-references-self": Rule(True, 1, 4, LEAST_SIDE, 200),
    "openimages-references-cross": Rule(True, 1, 4, LEAST_SIDE, 200),
}
REFERENCES = {"openimages-references-self": Crops.SELF, "openimages-references-cross": Crops.CROSS}
"""Suites whose instances have references, and what these are."""
PLACES = ("", "images", "validation", "test", "train")


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read the tables of the folder `source` into the suite of that name.

    Boxes and classes must be there; pictures, sizes, image labels, hierarchy and masks are used where they are.
    Raises LayoutmarkError for an unknown suite and for files that are missing or cannot be read.
    """
    if name not in RULES:
        raise unknown_name("suite", name, RULES)
    rule, ledger, notes = RULES[name], Ledger(), []
    names = read_classes(_one(source, CLASSES, name))
    tree = [read_hierarchy(path) for path in _at_most_one(source, "*hierarchy*.json", name)]
    if rule.coco and not tree:
        raise refused(f"suite {name}, source", "no *hierarchy*.json", "the tree of classes", "Download it, too.")
    hierarchy = tree[0] if tree else Hierarchy()
    pictures = read_boxes(_one(source, BOXES, name), names, ledger)
    notes += _told_by(source, pictures)
    masks: dict[tuple[str, int], Mask] = {}
    for path in sorted(source.rglob("*annotations-object-segmentation*.csv")):
        masks |= read_masks(path, pictures, ledger)
    called = of_coco(names, hierarchy) if rule.coco else own(names)
    exact = of_coco(names, Hierarchy()) if rule.coco else called
    chosen: dict[str, tuple[Picture, list[Found], list[str]]] = {}
    for picture in pictures.values():
        try:
            boxes = _taken(picture, rule, called)
        except Skip as reason:
            ledger.skip("picture", picture.id, reason)
            continue
        chosen[picture.id] = (picture, boxes, [LEFT_OUT] if len(boxes) < len(picture.boxes) else [])
    cutter = None
    if name in REFERENCES:
        cutter = Cutter(name, REFERENCES[name], *_files(source, pictures))
        fit = cutter.admitted(
            {key: _instances(c[0], c[1], names, called, masks) for key, c in chosen.items()}, ledger, "picture"
        )
        chosen = {key: choice for key, choice in chosen.items() if key in fit}
    order = sorted(chosen, key=lambda key: sha256(f"{name}/{key}".encode()).hexdigest())
    full = set(order[: rule.pictures])
    samples: list[Sample] = []
    references: dict[str, Reference] = {}
    for key, (picture, boxes, flags) in chosen.items():
        if key not in full:
            ledger.skip("picture", key, "fits, but the suite is full")
            continue
        instances, told = _instances(picture, boxes, names, called, masks), ""
        if cutter is not None:
            try:
                instances, shown, told = cutter.cut(key, instances)
            except Skip as reason:
                ledger.skip("picture", key, reason)
                continue
            references.update({reference.key: reference for reference in shown})
        ledger.keep("picture", key, flags=[*picture.flags, *flags])
        judged = _judged(picture, hierarchy, called, exact)
        samples.append(_sample(name, picture, instances, judged, told))
    return built_suite(samples, ledger, notes, references=references.values())


def _files(source: Path, pictures: Mapping[str, Picture]) -> tuple[dict[str, Path], dict[str, Canvas]]:
    """The pictures' files, ID.jpg in the source or a usual folder of it, and what a table says of their sizes.

    Where no table does, a picture's canvas is that of its file.
    """
    named = pictures_at(source, PLACES)
    files = {picture.id: named[f"{picture.id}.jpg"] for picture in pictures.values() if f"{picture.id}.jpg" in named}
    sizes = {picture.id: picture.canvas for picture in pictures.values() if picture.sized}
    for key in files.keys() - sizes.keys():
        # A picture that cannot be read is skipped when it is cut.
        with suppress(Skip), decoded("picture"), Image.open(files[key]) as opened:
            pictures[key].canvas = Canvas(*opened.size)
    return files, sizes


def _told_by(source: Path, pictures: Mapping[str, Picture]) -> list[str]:
    """Read what may lie beside the boxes into the pictures; returns what a reader must know."""
    for path in sorted(source.rglob("*images*with-rotation*.csv")):
        read_pictures(path, pictures)
    sizes = sorted(source.rglob("*sizes*.csv"))
    for path in sizes:
        read_sizes(path, pictures)
    labels = sorted(source.rglob("*annotations-human-imagelabels*.csv"))
    for path in labels:
        read_labels(path, pictures)
    return [
        *([] if sizes else [NO_SIZE]),
        *([] if labels else ["no image labels: only classes with a box count as verified"]),
    ]


def _taken(picture: Picture, rule: Rule, called: Mapping[str, str]) -> list[Found]:
    if picture.problem:
        raise Skip(picture.problem)
    boxes = [b for b in picture.boxes if b.label in called and _side(b) >= rule.side]
    if not boxes:
        raise Skip("no usable box")
    if len(boxes) < rule.least or (rule.most is not None and len(boxes) > rule.most):
        raise Skip(f"not {rule.least} to {rule.most} boxes of COCO's classes with sides of an eighth of the picture")
    return boxes


def _side(found: Found) -> float:
    x0, y0, x1, y1 = found.box.xyxy
    return min(x1 - x0, y1 - y0)


def _judged(
    picture: Picture, hierarchy: Hierarchy, called: Mapping[str, str], exact: Mapping[str, str]
) -> tuple[str, ...]:
    """Categories whose things are all known: with a present class go those above it, with an absent one those below.

    COCO's "person" is absent only where the class Person is, not where Man is.
    """
    present = {called[one] for label in picture.present for one in hierarchy.lineage(label) if one in called}
    absent = {exact[one] for label in picture.absent for one in hierarchy.kinds(label) if one in exact}
    return tuple(sorted(present | absent))


def _instances(
    picture: Picture, boxes: list[Found], names: Mapping[str, str], called: Mapping[str, str],
    masks: Mapping[tuple[str, int], Mask],
) -> list[Instance]:  # fmt: skip
    instances = []
    for place, found in enumerate(boxes):
        mask = masks.get((picture.id, found.number))
        point, scribble = marks(mask) if mask is not None else (None, None)
        instances.append(
            Instance(
                str(place), names[found.label], called[found.label], found.box, mask, point, scribble, found.attributes
            )
        )
    return instances


def _sample(name: str, picture: Picture, instances: list[Instance], judged: tuple[str, ...], told: str) -> Sample:
    provenance = {
        "source": f"Open Images, picture {picture.id}", "licence": f"picture: {picture.licence}; {ANNOTATIONS}",
        **({"references": told} if told else {}), **({"url": picture.url} if picture.url else {}),
    }  # fmt: skip
    layout = Layout(picture.canvas, tuple(instances))
    prompt = sentence(instance.phrase for instance in instances)
    strata = {"reference": str(REFERENCES[name])} if name in REFERENCES else {}
    return Sample(f"{name}-{picture.id}", prompt, layout, strata, provenance, judged)


def _one(source: Path, pattern: str, name: str) -> Path:
    paths = _at_most_one(source, pattern, name)
    if not paths:
        raise refused(f"suite {name}, source", f"no {pattern} in {source.name}", "the file", "Download it, too.")
    return paths[0]


def _at_most_one(source: Path, pattern: str, name: str) -> list[Path]:
    paths = sorted(source.rglob(pattern)) if source.is_dir() else []
    if len(paths) > 1:
        told = ", ".join(path.name for path in paths)
        raise refused(f"suite {name}, source", told, f"one file {pattern}", "Give a folder with one split.")
    return paths
