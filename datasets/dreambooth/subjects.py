"""Folders of subjects in DreamBooth's form: pictures in `SUBJECT/*.jpg`, classes and prompts in one text file.

The text file holds a table `subject_name,class` and lists of templates written as Python, which is read, never run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layoutmark.ingest.files import refused, text_of
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import respelt
from layoutmark.ingest.references import picture_of, reference_of
from layoutmark.layout import Reference

FILE = "prompts_and_classes.txt"
HEADER = "subject_name,class"
LONGEST = 512
"""Longest side of a reference in pixels: what Stable Diffusion 1 draws."""
LIVE = frozenset(("cat", "dog"))
"""Classes that the paper (Ruiz et al. 2023) gives the prompts for living subjects."""
TEMPLATE = re.compile(r"""\s*(['"])(?P<text>.*)\1\.format\(unique_token, class_token\),?\s*""")
HEADING = re.compile(r"\s*(?P<name>object|live subject) prompts\s*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Subject:
    """One subject: its folder's name, its class, and its pictures by file name."""

    name: str
    kind: str
    pictures: dict[str, Reference]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the text file says: classes by subject, templates with {0} and {1} for objects and for living subjects."""

    classes: dict[str, str]
    objects: tuple[str, ...]
    live: tuple[str, ...]

    def templates(self, kind: str) -> Sequence[str]:
        """Those for a class."""
        return self.live if kind in LIVE else self.objects


def read_sheet(path: Path, ledger: Ledger) -> Sheet:
    """Read `prompts_and_classes.txt`.  Raises LayoutmarkError if it has no table of classes or no templates."""
    classes: dict[str, str] = {}
    templates: dict[str, list[str]] = {"object": [], "live subject": []}
    part = ""
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        heading = HEADING.fullmatch(line)
        if line.replace(" ", "") == HEADER:
            part = HEADER
        elif heading:
            part = heading["name"].lower()
        elif part == HEADER and line.count(",") == 1:
            name, kind = (word.strip() for word in line.split(","))
            classes[name] = kind
        elif part in templates and ".format(" in line:
            try:
                templates[part].append(_template(line))
            except Skip as reason:
                ledger.skip("template", f"line {number}", reason)
            else:
                ledger.keep("template", f"line {number}")
    if not classes or not templates["object"] + templates["live subject"]:
        raise refused(
            f"file {path.name}", f"{len(classes)} classes and {sum(map(len, templates.values()))} templates",
            f"a table {HEADER}, and templates under 'Object Prompts' or 'Live Subject Prompts'",
        )  # fmt: skip
    return Sheet(classes, tuple(templates["object"]), tuple(templates["live subject"]))


def _template(line: str) -> str:
    match = TEMPLATE.fullmatch(line)
    if match is None:
        raise Skip("not 'text'.format(unique_token, class_token)")
    if set(re.findall(r"{(.*?)}", match["text"])) != {"0", "1"}:
        raise Skip("template without {0} and {1}")
    return match["text"]


def filled(template: str, kind: str) -> str:
    """A template with the class in it and no rare token: which token a subject gets is the method's affair."""
    return " ".join(template.replace("{0}", "").replace("{1}", kind).split())


def read_subjects(root: Path, classes: dict[str, str], ledger: Ledger) -> list[Subject]:
    """The subjects with at least one readable picture, by name; every subject and picture is closed in the ledger."""
    found = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        if folder.name not in classes:
            ledger.skip("subject", folder.name, "no class in the text file")
            continue
        repairs: list[str] = []
        kind = respelt(classes[folder.name], repairs)
        pictures = _pictures(folder, kind, ledger)
        if not kind or not pictures:
            ledger.skip("subject", folder.name, "no readable picture" if kind else "its class is empty")
            continue
        ledger.keep("subject", folder.name, repairs)
        found.append(Subject(folder.name, kind, pictures))
    for name in sorted(classes.keys() - {p.name for p in root.iterdir() if p.is_dir()}):
        ledger.skip("subject", name, "no folder of pictures")
    return found


def _pictures(folder: Path, kind: str, ledger: Ledger) -> dict[str, Reference]:
    pictures: dict[str, Reference] = {}
    for path in sorted(folder.glob("*.jpg")):
        repairs: list[str] = []
        try:
            pictures[path.name] = reference_of(picture_of(path, repairs, LONGEST), kind)
        except Skip as reason:
            ledger.skip("picture", f"{folder.name}/{path.name}", reason)
        else:
            ledger.keep("picture", f"{folder.name}/{path.name}", repairs)
    return pictures
