"""Suites of COCO: captions as prompts, annotated things with boxes, masks, points and scribbles as layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from layoutmark.api import BuiltSuite, unknown_name
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.reference_crops import Crops, Cutter, pictures_at
from layoutmark.layout import Layout, Reference, Sample

from .annotations import Picture, Source
from .annotations import read as read_instances
from .panoptic import read as read_panoptic
from .selection import RULES, Choice, chosen

PLACES = ("", "images", "train2017", "val2017")
ANNOTATIONS = "annotations CC-BY-4.0 (COCO Consortium)"
PANOPTIC = ("coco-panoptic",)
REFERENCES = {"coco-references-self": Crops.SELF, "coco-references-cross": Crops.CROSS}
"""Suites whose instances have references, and what these are."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read annotation files at `source` (see `annotations.read`, `panoptic.read`) into the suite of that name.

    Raises LayoutmarkError for an unknown suite and for files that cannot be read.
    """
    if name not in RULES:
        raise unknown_name("suite", name, RULES)
    ledger = Ledger()
    found = (read_panoptic if name in PANOPTIC else read_instances)(source, ledger)
    candidates: dict[str, Choice] = {}
    for picture in found.pictures:
        try:
            candidates[picture.id] = RULES[name].take(picture)
        except Skip as reason:
            ledger.skip("image", picture.id, reason)
    cutter = _cutter(name, found.pictures, source) if name in REFERENCES else None
    if cutter is not None:
        fit = cutter.admitted({key: choice.instances for key, choice in candidates.items()}, ledger, "image")
        candidates = {key: choice for key, choice in candidates.items() if key in fit}
    taken = chosen(name, candidates)
    samples: list[Sample] = []
    references: dict[str, Reference] = {}
    for picture in found.pictures:
        choice = candidates.get(picture.id)
        if choice is None:
            continue
        if picture.id not in taken:
            ledger.skip("image", picture.id, "fits, but the suite is full")
            continue
        told = {}
        try:
            if cutter is not None:
                instances, shown, told["references"] = cutter.cut(picture.id, choice.instances)
                choice = replace(choice, instances=instances)
                references.update({reference.key: reference for reference in shown})
        except Skip as reason:
            ledger.skip("image", picture.id, reason)
            continue
        ledger.keep("image", picture.id, flags=choice.flags)
        samples.append(_sample(name, picture, choice, found, told))
    return built_suite(samples, ledger, found.notes, references=references.values())


def _cutter(name: str, pictures: Iterable[Picture], source: Path) -> Cutter:
    """Picture files lie beside the annotations, in the folder above `annotations/`, or in usual folders there."""
    root = source if source.is_dir() else source.parent
    files = pictures_at(root.parent if root.name == "annotations" else root, PLACES)
    there = {picture.id: files[picture.file] for picture in pictures if picture.file in files}
    return Cutter(name, REFERENCES[name], there, {picture.id: picture.canvas for picture in pictures})


def _sample(name: str, picture: Picture, choice: Choice, source: Source, told: Mapping[str, str]) -> Sample:
    provenance = {
        "source": f"COCO {source.path.name}, image {picture.id}",
        "licence": f"picture: {picture.licence}; {ANNOTATIONS}",
        **told,
    }
    if picture.url:
        provenance["url"] = picture.url
    strata = {"reference": str(REFERENCES[name])} if name in REFERENCES else {}
    layout = Layout(choice.canvas, tuple(choice.instances))
    return Sample(f"{name}-{picture.id}", choice.prompt, layout, strata, provenance)
