"""Suites of COCO: captions as prompts, annotated things with boxes, masks, points and scribbles as layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from layoutmark.api import BuiltSuite, unknown_name_error
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.reference_crops import CropSource, ReferenceCropper, find_images
from layoutmark.layout import Layout, Reference, Sample

from .annotations import AnnotatedImage, AnnotationFile, read_instances
from .panoptic import read_panoptic
from .selection import RULES, Selection, choose_images

IMAGE_FOLDERS = ("", "images", "train2017", "val2017")
ANNOTATIONS_LICENCE = "annotations CC-BY-4.0 (COCO Consortium)"
PANOPTIC_SUITES = ("coco-panoptic",)
CROP_SOURCES = {"coco-references-self": CropSource.SELF, "coco-references-cross": CropSource.CROSS}
"""Suites with references, and what the references are cropped from."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Build the suite `name` from annotation files at `source` (see `read_instances` and `read_panoptic`).

    Raises LayoutmarkError for an unknown suite and for files that cannot be read.
    """
    if name not in RULES:
        raise unknown_name_error("suite", name, RULES)
    ledger = Ledger()
    annotation_file = (read_panoptic if name in PANOPTIC_SUITES else read_instances)(source, ledger)
    candidates = _select_candidates(name, annotation_file.images, ledger)
    cropper = _make_cropper(name, annotation_file.images, source) if name in CROP_SOURCES else None
    if cropper is not None:
        instances_by_image = {image_id: selection.instances for image_id, selection in candidates.items()}
        eligible_ids = cropper.select_eligible(instances_by_image, ledger, "image")
        candidates = {image_id: selection for image_id, selection in candidates.items() if image_id in eligible_ids}
    chosen_ids = choose_images(name, candidates)
    samples: list[Sample] = []
    references: dict[str, Reference] = {}
    for image in annotation_file.images:
        selection = candidates.get(image.id)
        if selection is None:
            continue
        if image.id not in chosen_ids:
            ledger.skip("image", image.id, "fits, but the suite is full")
            continue
        origins = {}
        try:
            if cropper is not None:
                instances, crops, origins["references"] = cropper.crop_references(image.id, selection.instances)
                selection = replace(selection, instances=instances)
                references.update({reference.key: reference for reference in crops})
        except Skip as reason:
            ledger.skip("image", image.id, reason)
            continue
        ledger.keep("image", image.id, flags=selection.flags)
        samples.append(_make_sample(name, image, selection, annotation_file, origins))
    return assemble_suite(samples, ledger, annotation_file.notes, references=references.values())


def _select_candidates(name: str, images: Iterable[AnnotatedImage], ledger: Ledger) -> dict[str, Selection]:
    candidates: dict[str, Selection] = {}
    for image in images:
        try:
            candidates[image.id] = RULES[name].select(image)
        except Skip as reason:
            ledger.skip("image", image.id, reason)
    return candidates


def _make_cropper(name: str, images: Iterable[AnnotatedImage], source: Path) -> ReferenceCropper:
    """Image files are beside the annotations, in the folder above `annotations/`, or in one of the usual folders."""
    root = source if source.is_dir() else source.parent
    paths = find_images(root.parent if root.name == "annotations" else root, IMAGE_FOLDERS)
    files = {image.id: paths[image.file_name] for image in images if image.file_name in paths}
    return ReferenceCropper(name, CROP_SOURCES[name], files, {image.id: image.canvas for image in images})


def _make_sample(
    name: str, image: AnnotatedImage, selection: Selection, annotation_file: AnnotationFile, origins: Mapping[str, str]
) -> Sample:
    """`origins` says where references come from and is added to the provenance."""
    provenance = {
        "source": f"COCO {annotation_file.path.name}, image {image.id}",
        "licence": f"picture: {image.licence}; {ANNOTATIONS_LICENCE}",
        **origins,
    }
    if image.url:
        provenance["url"] = image.url
    strata = {"reference": str(CROP_SOURCES[name])} if name in CROP_SOURCES else {}
    layout = Layout(selection.canvas, tuple(selection.instances))
    return Sample(f"{name}-{image.id}", selection.prompt, layout, strata, provenance)
