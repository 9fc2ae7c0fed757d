"""Suites from Open Images' tables of boxes.

Open Images lists only instances of the classes that people looked for in an image.  A sample therefore says which
categories were verified as present or absent (`Sample.judged_categories`); detections of other categories are not
counted as mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image

from layoutmark.api import BuiltSuite, unknown_name_error
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import invalid_input_error
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import make_point_and_scribble
from layoutmark.ingest.phrases import make_prompt
from layoutmark.ingest.reference_crops import CropSource, ReferenceCropper, find_images
from layoutmark.ingest.references import skip_unreadable
from layoutmark.layout import Canvas, Instance, Layout, Mask, Reference, Sample

from .hierarchy import Hierarchy, read_hierarchy
from .masks import read_masks
from .tables import (
    NO_SIZES_NOTE,
    OpenImage,
    OpenImagesBox,
    read_boxes,
    read_classes,
    read_image_table,
    read_labels,
    read_sizes,
)
from .vocabulary import coco_names, own_names

ANNOTATIONS_LICENCE = "annotations CC-BY-4.0 (Google LLC)"
BOXES_PATTERN = "*annotations-bbox*.csv"
CLASSES_PATTERN = "*class-descriptions*.csv"
HIERARCHY_PATTERN = "*hierarchy*.json"
MIN_SIDE_SHARE = 1 / 8
LEFT_OUT = "boxes that are small or of no COCO class left out of the layout"


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """The images and boxes that one suite takes."""

    uses_coco_names: bool = False
    min_instances: int = 1
    max_instances: int | None = None
    min_side: float = 0.0
    """Shortest side of a box, as a fraction of the image's."""
    max_images: int | None = None


RULES = {
    "openimages": SelectionRule(),
    "openimages-500": SelectionRule(True, 2, 6, MIN_SIDE_SHARE, 500),
    "openimages-references-self": SelectionRule(True, 1, 4, MIN_SIDE_SHARE, 200),
    "openimages-references-cross": SelectionRule(True, 1, 4, MIN_SIDE_SHARE, 200),
}
CROP_SOURCES = {"openimages-references-self": CropSource.SELF, "openimages-references-cross": CropSource.CROSS}
"""Suites with references, and what the references are cropped from."""
IMAGE_FOLDERS = ("", "images", "validation", "test", "train")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names of the classes by label."""

    class_names: Mapping[str, str]
    """Open Images' names, used as phrases."""
    categories: Mapping[str, str]
    """Category of a class, through the hierarchy if the suite uses COCO's names."""
    exact_categories: Mapping[str, str]
    """Category of a class without the help of the hierarchy."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read the tables in the folder `source` into the suite `name`.

    Boxes and classes are required; images, sizes, image labels, hierarchy and masks are used if present.
    Raises LayoutmarkError for an unknown suite, and for files that are missing or cannot be read.
    """
    if name not in RULES:
        raise unknown_name_error("suite", name, RULES)
    rule, ledger = RULES[name], Ledger()
    class_names = read_classes(_find_file(source, CLASSES_PATTERN, name))
    hierarchy = _read_hierarchy(source, name, rule)
    images = read_boxes(_find_file(source, BOXES_PATTERN, name), class_names, ledger)
    notes = _read_optional_tables(source, images)
    masks: dict[tuple[str, int], Mask] = {}
    for path in sorted(source.rglob("*annotations-object-segmentation*.csv")):
        masks |= read_masks(path, images, ledger)
    vocabulary = _make_vocabulary(class_names, hierarchy, rule)
    candidates = _select_candidates(images, rule, vocabulary, ledger)
    cropper = None
    if name in CROP_SOURCES:
        cropper = ReferenceCropper(name, CROP_SOURCES[name], *_find_image_files(source, images))
        instances_by_image = {
            image_id: _make_instances(images[image_id], boxes, vocabulary, masks)
            for image_id, boxes in candidates.items()
        }
        eligible_ids = cropper.select_eligible(instances_by_image, ledger, "picture")
        candidates = {image_id: boxes for image_id, boxes in candidates.items() if image_id in eligible_ids}
    by_hash = sorted(candidates, key=lambda image_id: sha256(f"{name}/{image_id}".encode()).hexdigest())
    chosen_ids = set(by_hash[: rule.max_images])
    samples: list[Sample] = []
    references: dict[str, Reference] = {}
    for image_id, boxes in candidates.items():
        image = images[image_id]
        if image_id not in chosen_ids:
            ledger.skip("picture", image_id, "fits, but the suite is full")
            continue
        instances, origins = _make_instances(image, boxes, vocabulary, masks), ""
        if cropper is not None:
            try:
                instances, crops, origins = cropper.crop_references(image_id, instances)
            except Skip as reason:
                ledger.skip("picture", image_id, reason)
                continue
            references.update({reference.key: reference for reference in crops})
        flags = [LEFT_OUT] if len(boxes) < len(image.boxes) else []
        ledger.keep("picture", image_id, flags=[*image.flags, *flags])
        samples.append(_make_sample(name, image, instances, _judged_categories(image, hierarchy, vocabulary), origins))
    return assemble_suite(samples, ledger, notes, references=references.values())


def _read_hierarchy(source: Path, name: str, rule: SelectionRule) -> Hierarchy:
    paths = _find_at_most_one(source, HIERARCHY_PATTERN, name)
    if rule.uses_coco_names and not paths:
        raise invalid_input_error(
            f"suite {name}, source", f"no {HIERARCHY_PATTERN}", "the hierarchy of classes", "Download it, too."
        )
    return read_hierarchy(paths[0]) if paths else Hierarchy()


def _read_optional_tables(source: Path, images: Mapping[str, OpenImage]) -> list[str]:
    """Add what the other tables say to the images; returns notes on the tables that are missing."""
    for path in sorted(source.rglob("*images*with-rotation*.csv")):
        read_image_table(path, images)
    size_tables = sorted(source.rglob("*sizes*.csv"))
    for path in size_tables:
        read_sizes(path, images)
    label_tables = sorted(source.rglob("*annotations-human-imagelabels*.csv"))
    for path in label_tables:
        read_labels(path, images)
    return [
        *([] if size_tables else [NO_SIZES_NOTE]),
        *([] if label_tables else ["no image labels: only classes with a box count as verified"]),
    ]


def _make_vocabulary(class_names: Mapping[str, str], hierarchy: Hierarchy, rule: SelectionRule) -> Vocabulary:
    if not rule.uses_coco_names:
        names = own_names(class_names)
        return Vocabulary(class_names, names, names)
    return Vocabulary(class_names, coco_names(class_names, hierarchy), coco_names(class_names, Hierarchy()))


def _select_candidates(
    images: Mapping[str, OpenImage], rule: SelectionRule, vocabulary: Vocabulary, ledger: Ledger
) -> dict[str, list[OpenImagesBox]]:
    """The boxes that the suite takes of each image that its rule admits, by image id."""
    candidates: dict[str, list[OpenImagesBox]] = {}
    for image in images.values():
        try:
            candidates[image.id] = _select_boxes(image, rule, vocabulary)
        except Skip as reason:
            ledger.skip("picture", image.id, reason)
    return candidates


def _select_boxes(image: OpenImage, rule: SelectionRule, vocabulary: Vocabulary) -> list[OpenImagesBox]:
    if image.problem:
        raise Skip(image.problem)
    boxes = [b for b in image.boxes if b.label in vocabulary.categories and _shortest_side(b) >= rule.min_side]
    if not boxes:
        raise Skip("no usable box")
    if len(boxes) < rule.min_instances or (rule.max_instances is not None and len(boxes) > rule.max_instances):
        raise Skip(
            f"not {rule.min_instances} to {rule.max_instances} boxes of COCO's classes "
            "with sides of an eighth of the picture"
        )
    return boxes


def _shortest_side(box: OpenImagesBox) -> float:
    x0, y0, x1, y1 = box.box.xyxy
    return min(x1 - x0, y1 - y0)


def _find_image_files(source: Path, images: Mapping[str, OpenImage]) -> tuple[dict[str, Path], dict[str, Canvas]]:
    """Files `ID.jpg` by image id, and image sizes by image id as far as a table states them.

    The canvas of an image without a stated size is set to that of its file.
    """
    paths = find_images(source, IMAGE_FOLDERS)
    files = {image.id: paths[f"{image.id}.jpg"] for image in images.values() if f"{image.id}.jpg" in paths}
    sizes = {image.id: image.canvas for image in images.values() if image.has_size}
    for image_id in files.keys() - sizes.keys():
        # An image that cannot be read is skipped when references are cropped.
        with suppress(Skip), skip_unreadable("picture"), Image.open(files[image_id]) as opened:
            images[image_id].canvas = Canvas(*opened.size)
    return files, sizes


def _judged_categories(image: OpenImage, hierarchy: Hierarchy, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The categories that were verified: present classes with their ancestors, absent ones with their descendants.

    COCO's "person" is absent only if the class Person is absent; the absence of Man is not enough.
    """
    present_labels = {ancestor for label in image.present_labels for ancestor in hierarchy.lineage(label)}
    absent_labels = {descendant for label in image.absent_labels for descendant in hierarchy.descendants(label)}
    present = {vocabulary.categories[label] for label in present_labels if label in vocabulary.categories}
    absent = {vocabulary.exact_categories[label] for label in absent_labels if label in vocabulary.exact_categories}
    return tuple(sorted(present | absent))


def _make_instances(
    image: OpenImage, boxes: list[OpenImagesBox], vocabulary: Vocabulary, masks: Mapping[tuple[str, int], Mask]
) -> list[Instance]:
    instances = []
    for number, box in enumerate(boxes):
        mask = masks.get((image.id, box.line))
        point, scribble = make_point_and_scribble(mask) if mask is not None else (None, None)
        phrase, category = vocabulary.class_names[box.label], vocabulary.categories[box.label]
        instances.append(Instance(str(number), phrase, category, box.box, mask, point, scribble, box.attributes))
    return instances


def _make_sample(
    name: str, image: OpenImage, instances: list[Instance], judged_categories: tuple[str, ...], origins: str
) -> Sample:
    """`origins` says where references come from and is added to the provenance."""
    provenance = {
        "source": f"Open Images, picture {image.id}", "licence": f"picture: {image.licence}; {ANNOTATIONS_LICENCE}",
        **({"references": origins} if origins else {}), **({"url": image.url} if image.url else {}),
    }  # fmt: skip
    layout = Layout(image.canvas, tuple(instances))
    prompt = make_prompt(instance.phrase for instance in instances)
    strata = {"reference": str(CROP_SOURCES[name])} if name in CROP_SOURCES else {}
    return Sample(f"{name}-{image.id}", prompt, layout, strata, provenance, judged_categories)


def _find_file(source: Path, pattern: str, name: str) -> Path:
    paths = _find_at_most_one(source, pattern, name)
    if not paths:
        raise invalid_input_error(
            f"suite {name}, source", f"no {pattern} in {source.name}", "the file", "Download it, too."
        )
    return paths[0]


def _find_at_most_one(source: Path, pattern: str, name: str) -> list[Path]:
    paths = sorted(source.rglob(pattern)) if source.is_dir() else []
    if len(paths) > 1:
        actual = ", ".join(path.name for path in paths)
        raise invalid_input_error(
            f"suite {name}, source", actual, f"one file {pattern}", "Give a folder with a single split."
        )
    return paths
