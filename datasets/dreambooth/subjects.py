"""Folders of subjects in DreamBooth's format: images in `SUBJECT/*.jpg`, classes and prompts in one text file.

The text file has a table `subject_name,class` and lists of prompt templates written in Python, which is parsed and
never run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layoutmark.ingest.files import invalid_input_error, read_text
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import normalise_label
from layoutmark.ingest.references import load_image, make_reference
from layoutmark.layout import Reference

PROMPTS_FILE = "prompts_and_classes.txt"
CLASS_TABLE_HEADER = "subject_name,class"
MAX_REFERENCE_SIDE_PIXELS = 512
"""The image size of Stable Diffusion 1."""
LIVING_CLASSES = frozenset(("cat", "dog"))
"""Classes with the prompts for living subjects in the paper (Ruiz et al. 2023)."""
TEMPLATE_LINE = re.compile(r"""\s*(['"])(?P<text>.*)\1\.format\(unique_token, class_token\),?\s*""")
HEADING_LINE = re.compile(r"\s*(?P<name>object|live subject) prompts\s*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Subject:
    """A subject with its images by file name."""

    name: str
    """Name of its folder."""
    class_name: str
    images: dict[str, Reference]


@dataclass(frozen=True, slots=True)
class PromptSheet:
    """The content of the text file: classes by subject, and templates with {0} (rare token) and {1} (class)."""

    classes: dict[str, str]
    object_templates: tuple[str, ...]
    living_templates: tuple[str, ...]

    def templates(self, class_name: str) -> Sequence[str]:
        """The templates for subjects of a class."""
        return self.living_templates if class_name in LIVING_CLASSES else self.object_templates


def read_prompt_sheet(path: Path, ledger: Ledger) -> PromptSheet:
    """Read `prompts_and_classes.txt`.  Raises LayoutmarkError if it has no table of classes or no templates."""
    classes: dict[str, str] = {}
    templates: dict[str, list[str]] = {"object": [], "live subject": []}
    section = ""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        heading = HEADING_LINE.fullmatch(line)
        if line.replace(" ", "") == CLASS_TABLE_HEADER:
            section = CLASS_TABLE_HEADER
        elif heading:
            section = heading["name"].lower()
        elif section == CLASS_TABLE_HEADER and line.count(",") == 1:
            name, class_name = (word.strip() for word in line.split(","))
            classes[name] = class_name
        elif section in templates and ".format(" in line:
            try:
                templates[section].append(_parse_template(line))
            except Skip as reason:
                ledger.skip("template", f"line {number}", reason)
            else:
                ledger.keep("template", f"line {number}")
    if not classes or not templates["object"] + templates["live subject"]:
        raise invalid_input_error(
            f"file {path.name}", f"{len(classes)} classes and {sum(map(len, templates.values()))} templates",
            f"a table {CLASS_TABLE_HEADER}, and templates under 'Object Prompts' or 'Live Subject Prompts'",
        )  # fmt: skip
    return PromptSheet(classes, tuple(templates["object"]), tuple(templates["live subject"]))


def _parse_template(line: str) -> str:
    match = TEMPLATE_LINE.fullmatch(line)
    if match is None:
        raise Skip("not 'text'.format(unique_token, class_token)")
    if set(re.findall(r"{(.*?)}", match["text"])) != {"0", "1"}:
        raise Skip("template without {0} and {1}")
    return match["text"]


def fill_template(template: str, class_name: str) -> str:
    """Insert the class and leave out the rare token: methods choose their own token for a subject.

    >>> fill_template("a {0} {1} in the snow", "dog")
    'a dog in the snow'
    """
    return " ".join(template.replace("{0}", "").replace("{1}", class_name).split())


def read_subjects(root: Path, classes: dict[str, str], ledger: Ledger) -> list[Subject]:
    """The subjects with a readable image, in the order of their names; subjects and images are closed in the ledger."""
    subjects = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        if folder.name not in classes:
            ledger.skip("subject", folder.name, "no class in the text file")
            continue
        repairs: list[str] = []
        class_name = normalise_label(classes[folder.name], repairs)
        images = _read_images(folder, class_name, ledger)
        if not class_name or not images:
            ledger.skip("subject", folder.name, "no readable picture" if class_name else "its class is empty")
            continue
        ledger.keep("subject", folder.name, repairs)
        subjects.append(Subject(folder.name, class_name, images))
    for name in sorted(classes.keys() - {p.name for p in root.iterdir() if p.is_dir()}):
        ledger.skip("subject", name, "no folder of pictures")
    return subjects


def _read_images(folder: Path, class_name: str, ledger: Ledger) -> dict[str, Reference]:
    images: dict[str, Reference] = {}
    for path in sorted(folder.glob("*.jpg")):
        repairs: list[str] = []
        try:
            images[path.name] = make_reference(load_image(path, repairs, MAX_REFERENCE_SIDE_PIXELS), class_name)
        except Skip as reason:
            ledger.skip("picture", f"{folder.name}/{path.name}", reason)
        else:
            ledger.keep("picture", f"{folder.name}/{path.name}", repairs)
    return images
