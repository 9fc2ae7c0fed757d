"""Suites of COCO: captions as prompts, annotated things with boxes, masks, points and scribbles as layouts."""

from __future__ import annotations

from pathlib import Path

from layoutmark.door import BuiltSuite, unknown_name
from layoutmark.door.built import built_suite
from layoutmark.door.ledger import Ledger, Skip
from layoutmark.layout import Layout, Sample

from .annotations import Picture, Source, read
from .selection import RULES, Choice, chosen

ANNOTATIONS = "annotations CC-BY-4.0 (COCO Consortium)"


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read annotation files at `source` (see `annotations.read`) into the suite of that name.

    Raises LayoutmarkError for an unknown suite and for files that cannot be read.
    """
    if name not in RULES:
        raise unknown_name("suite", name, RULES)
    ledger = Ledger()
    found = read(source, ledger)
    candidates: dict[str, Choice] = {}
    for picture in found.pictures:
        try:
            candidates[picture.id] = RULES[name].take(picture)
        except Skip as reason:
            ledger.skip("image", picture.id, reason)
    taken = chosen(name, candidates)
    samples = []
    for picture in found.pictures:
        choice = candidates.get(picture.id)
        if choice is None:
            continue
        if picture.id not in taken:
            ledger.skip("image", picture.id, "fits, but the suite is full")
            continue
        ledger.keep("image", picture.id, flags=choice.flags)
        samples.append(_sample(name, picture, choice, found))
    return built_suite(samples, ledger, found.notes)


def _sample(name: str, picture: Picture, choice: Choice, source: Source) -> Sample:
    provenance = {
        "source": f"COCO {source.file}, image {picture.id}",
        "licence": f"picture: {picture.licence}; {ANNOTATIONS}",
    }
    if picture.url:
        provenance["url"] = picture.url
    layout = Layout(choice.canvas, tuple(choice.instances))
    return Sample(f"{name}-{picture.id}", choice.prompt, layout, provenance=provenance)
