"""Suites of subjects that a method knows from images: DreamBooth's subjects and prompts, each at a position.

`dreambooth` combines every subject with every prompt for its class at every position.  `dreambench` takes the prompts
and images, one per prompt, from a list in the format of UNO's `dreambench_singleip.json`, with the positions in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from layoutmark.api import BuiltSuite, unknown_name_error
from layoutmark.ingest.boxes import clip_to_canvas
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import invalid_input_error, read_json
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import collapse_whitespace
from layoutmark.ingest.scenes import DEFAULT_CANVAS
from layoutmark.ingest.values import get_field, parse_text, require_list
from layoutmark.layout import Instance, Layout, Reference, Sample

from .subjects import (
    LIVING_CLASSES,
    PROMPTS_FILE,
    PromptSheet,
    Subject,
    fill_template,
    read_prompt_sheet,
    read_subjects,
)

LIST_PATTERN = "dreambench*.json"
LICENCES = {
    "dreambooth": "CC-BY-4.0 (DreamBooth's data set; photo credits in references_and_licenses.txt)",
    "dreambench": "prompts Apache-2.0 (UNO); pictures CC-BY-4.0 (DreamBooth's data set)",
}
BOXES = {
    "centre": (0.25, 0.25, 0.75, 0.75),
    "left": (0.0625, 0.3125, 0.5, 0.9375),
    "right": (0.5, 0.3125, 0.9375, 0.9375),
}
"""Boxes of the subject by position: x0, y0, x1, y1 in fractions of a square canvas."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read `prompts_and_classes.txt`, anywhere below `source`, and the folders of subjects beside it.

    `dreambench` also reads its list, anywhere below `source`.
    Raises LayoutmarkError for an unknown suite, and if a file is missing or cannot be read.
    """
    if name not in LICENCES:
        raise unknown_name_error("suite", name, LICENCES)
    ledger = Ledger()
    root = _find_file(source, PROMPTS_FILE, name).parent
    sheet = read_prompt_sheet(root / PROMPTS_FILE, ledger)
    subjects = read_subjects(root, sheet.classes, ledger)
    if name == "dreambooth":
        pairs = list(_combine(name, subjects, sheet))
    else:
        pairs = list(_read_list(name, source, subjects, ledger))
    references = {reference.key: reference for _, reference in pairs}
    extra_references: dict[str, tuple[str, ...]] = {}
    for images in ({r.key: r for r in subject.images.values()} for subject in subjects):
        if references.keys() & images.keys():
            extra_references |= {key: tuple(k for k in sorted(images) if k != key) for key in images}
            references |= images
    samples = [sample for sample, _ in pairs]
    return assemble_suite(samples, ledger, references=references.values(), extra_references=extra_references)


def _find_file(source: Path, pattern: str, name: str) -> Path:
    paths = sorted(source.rglob(pattern)) if source.is_dir() else []
    if len(paths) != 1:
        actual = f"{len(paths)} files {pattern} in {source.name or source}"
        raise invalid_input_error(f"suite {name}, source", actual, f"a folder with one {pattern}", "Check --source.")
    return paths[0]


def _combine(name: str, subjects: list[Subject], sheet: PromptSheet) -> Iterator[tuple[Sample, Reference]]:
    """Every subject with every prompt at every position; a subject's images take turns.

    Subjects are the innermost loop, so the first samples show all of them.
    """
    template_count = max(len(sheet.object_templates), len(sheet.living_templates))
    for turn, position in enumerate(BOXES):
        for number in range(template_count):
            for subject in subjects:
                templates = sheet.templates(subject.class_name)
                if number < len(templates):
                    file_names = list(subject.images)
                    file_name = file_names[(number + turn) % len(file_names)]
                    prompt = fill_template(templates[number], subject.class_name)
                    sample_id = f"{name}-{subject.name}-{number:02}-{position}"
                    yield _make_sample(name, sample_id, prompt, subject, file_name, position)


def _read_list(name: str, source: Path, subjects: list[Subject], ledger: Ledger) -> Iterator[tuple[Sample, Reference]]:
    subjects_by_name = {subject.name: subject for subject in subjects}
    path = _find_file(source, LIST_PATTERN, name)
    for number, record in enumerate(require_list(read_json(path), f"file {path.name}")):
        repairs: list[str] = []
        try:
            prompt = collapse_whitespace(parse_text(get_field(record, "prompt"), "prompt"), repairs)
            subject, file_name = _find_image(get_field(record, "image_paths"), subjects_by_name)
        except Skip as reason:
            ledger.skip("record", number, reason)
            continue
        ledger.keep("record", number, repairs)
        position = list(BOXES)[number % len(BOXES)]
        yield _make_sample(name, f"{name}-{number:04}", prompt, subject, file_name, position)


def _find_image(paths: Any, subjects: dict[str, Subject]) -> tuple[Subject, str]:
    """The subject and the file name of a record's image: the last two components of its path."""
    if not isinstance(paths, list) or len(paths) != 1:
        raise Skip("not one picture")
    parts = PurePosixPath(parse_text(paths[0], "image_paths")).parts
    if len(parts) < 2 or parts[-2] not in subjects or parts[-1] not in subjects[parts[-2]].images:
        raise Skip("its picture is not there")
    return subjects[parts[-2]], parts[-1]


def _make_sample(
    suite: str, sample_id: str, prompt: str, subject: Subject, file_name: str, position: str
) -> tuple[Sample, Reference]:
    reference = subject.images[file_name]
    box = clip_to_canvas(BOXES[position], [])
    instance = Instance("0", subject.class_name, subject.class_name, box, reference=reference.key)
    living = "yes" if subject.class_name in LIVING_CLASSES else "no"
    strata = {"subject": subject.name, "place": position, "living": living}
    provenance = {"source": f"{subject.name}/{file_name}", "licence": LICENCES[suite]}
    return Sample(sample_id, prompt, Layout(DEFAULT_CANVAS, (instance,)), strata, provenance), reference
