"""Suites of subjects that a method knows from pictures: DreamBooth's subjects and prompts, crossed with places.

`dreambooth` takes every subject with every prompt of its kind at every place; `dreambench` takes the prompts and the
one picture each that a list in the form of UNO's `dreambench_singleip.json` names, at places in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from layoutmark.api import BuiltSuite, unknown_name
from layoutmark.ingest.boxes import placed
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import field, json_of, listed, refused, text
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import tidied
from layoutmark.ingest.scenes import SQUARE
from layoutmark.layout import Instance, Layout, Reference, Sample

from .subjects import FILE, LIVE, Sheet, Subject, filled, read_sheet, read_subjects

LISTING = "dreambench*.json"
LICENCES = {
    "dreambooth": "CC-BY-4.0 (DreamBooth's data set; photo credits in references_and_licenses.txt)",
    "dreambench": "prompts Apache-2.0 (UNO); pictures CC-BY-4.0 (DreamBooth's data set)",
}
PLACES = {
    "centre": (0.25, 0.25, 0.75, 0.75),
    "left": (0.0625, 0.3125, 0.5, 0.9375),
    "right": (0.5, 0.3125, 0.9375, 0.9375),
}
"""Boxes of the one subject, in fractions of a square."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read the folder with `prompts_and_classes.txt` and a folder of pictures for each subject.

    For `dreambench` the list lies in it or anywhere below the folder above it.
    Raises LayoutmarkError for an unknown suite and if a file is missing or cannot be read.
    """
    if name not in LICENCES:
        raise unknown_name("suite", name, LICENCES)
    ledger = Ledger()
    root = _only(source, FILE, name).parent
    sheet = read_sheet(root / FILE, ledger)
    subjects = read_subjects(root, sheet.classes, ledger)
    found = list(_crossed(name, subjects, sheet) if name == "dreambooth" else _named(name, source, subjects, ledger))
    shown = {reference.key: reference for _, reference in found}
    further: dict[str, tuple[str, ...]] = {}
    for pictures in ({r.key: r for r in subject.pictures.values()} for subject in subjects):
        if shown.keys() & pictures.keys():
            further |= {key: tuple(k for k in sorted(pictures) if k != key) for key in pictures}
            shown |= pictures
    return built_suite([sample for sample, _ in found], ledger, references=shown.values(), further=further)


def _only(source: Path, pattern: str, name: str) -> Path:
    paths = sorted(source.rglob(pattern)) if source.is_dir() else []
    if len(paths) != 1:
        told = f"{len(paths)} files {pattern} in {source.name or source}"
        raise refused(f"suite {name}, source", told, f"a folder with one {pattern}", "Check --source.")
    return paths[0]


def _crossed(name: str, subjects: list[Subject], sheet: Sheet) -> Iterator[tuple[Sample, Reference]]:
    """Subjects innermost, so that the first samples show them all; a subject's pictures take turns."""
    longest = max(len(sheet.objects), len(sheet.live))
    for turn, place in enumerate(PLACES):
        for number in range(longest):
            for subject in subjects:
                templates = sheet.templates(subject.kind)
                if number < len(templates):
                    files = list(subject.pictures)
                    file = files[(number + turn) % len(files)]
                    prompt = filled(templates[number], subject.kind)
                    yield _sample(name, f"{subject.name}-{number:02}-{place}", prompt, subject, file, place)


def _named(name: str, source: Path, subjects: list[Subject], ledger: Ledger) -> Iterator[tuple[Sample, Reference]]:
    known = {subject.name: subject for subject in subjects}
    path = _only(source, LISTING, name)
    for number, record in enumerate(listed(json_of(path), f"file {path.name}")):
        repairs: list[str] = []
        try:
            prompt = tidied(text(field(record, "prompt"), "prompt"), repairs)
            subject, file = _picture(field(record, "image_paths"), known)
        except Skip as reason:
            ledger.skip("record", number, reason)
            continue
        ledger.keep("record", number, repairs)
        yield _sample(name, f"{number:04}", prompt, subject, file, list(PLACES)[number % len(PLACES)])


def _picture(paths: Any, known: dict[str, Subject]) -> tuple[Subject, str]:
    """The subject and the name of the file that a record names: the last two parts of its path."""
    if not isinstance(paths, list) or len(paths) != 1:
        raise Skip("not one picture")
    parts = PurePosixPath(text(paths[0], "image_paths")).parts
    if len(parts) < 2 or parts[-2] not in known or parts[-1] not in known[parts[-2]].pictures:
        raise Skip("its picture is not there")
    return known[parts[-2]], parts[-1]


def _sample(name: str, key: str, prompt: str, subject: Subject, file: str, place: str) -> tuple[Sample, Reference]:
    reference = subject.pictures[file]
    box = placed(PLACES[place], [])
    instance = Instance("0", subject.kind, subject.kind, box, reference=reference.key)
    strata = {"subject": subject.name, "place": place, "living": "yes" if subject.kind in LIVE else "no"}
    provenance = {"source": f"{subject.name}/{file}", "licence": LICENCES[name]}
    return Sample(f"{name}-{key}", prompt, Layout(SQUARE, (instance,)), strata, provenance), reference
