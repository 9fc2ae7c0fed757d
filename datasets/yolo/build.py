"""Labels in YOLO's form: a text file a picture, a line a thing: class number, then a box or a polygon in fractions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, corners
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import number, refused, text_of, whole
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import mask_of
from layoutmark.ingest.phrases import respelt, sentence, with_article
from layoutmark.ingest.references import decoded
from layoutmark.ingest.scenes import SQUARE, Record, Scene, Thing, each, samples_of
from layoutmark.layout import Canvas

LICENCE = "not stated in the files"
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
NAME = re.compile(r"^\s*(?:-|(\d+)\s*:)\s*(.+?)\s*$")
"""A line of a YAML list or mapping of names."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read `labels/**/*.txt` below a folder; class names come from `classes.txt` or the `names:` of a YAML file.

    Raises LayoutmarkError if there are no labels or no names.
    """
    paths = sorted((source / "labels").glob("**/*.txt"))
    if not paths:
        raise refused(f"suite {name}, source", "no labels/*.txt", "a folder with labels/", "Check --source.")
    names = _names(source)
    ledger = Ledger()
    samples = samples_of(name, _records(source, paths, names), LICENCE, ledger, "picture")
    return built_suite(samples, ledger)


def _names(source: Path) -> dict[int, str]:
    """Class names by number."""
    if (source / "classes.txt").is_file():
        lines = text_of(source / "classes.txt").splitlines()
        return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    for path in sorted([*source.glob("*.yaml"), *source.glob("*.yml")]):
        _, found, rest = text_of(path).partition("names:")
        if found:
            return _listed(rest)
    raise refused("class names", f"neither classes.txt nor names in a YAML file of {source.name}", "one of the two")


def _listed(text: str) -> dict[int, str]:
    """`names:` written as `[cat, dog]`, as `- cat` lines, or as `0: cat` lines."""
    if text.lstrip(" ").startswith("["):
        inside = text.partition("[")[2].partition("]")[0]
        return {n: name.strip(" '\"\n") for n, name in enumerate(inside.split(","))}
    found: dict[int, str] = {}
    for line in text.splitlines()[1:]:
        match = NAME.match(line)
        if match is None:
            if line.strip() and not line.lstrip().startswith("#"):
                break
            continue
        found[int(match[1]) if match[1] else len(found)] = match[2].strip("'\"")
    return found


def _records(source: Path, paths: list[Path], names: dict[int, str]) -> Iterator[Record]:
    for path in paths:
        inner = path.relative_to(source / "labels").with_suffix("")
        yield inner.as_posix(), partial(_scene, source, path, inner, names)


def _scene(source: Path, path: Path, inner: Path, names: dict[int, str]) -> Scene:
    canvas = _size(source / "images" / inner)
    lines = [line.split() for line in text_of(path).splitlines() if line.strip()]
    things = each(partial(_thing, canvas or SQUARE, names), lines)
    known = [respelt(thing.category, []) for thing in things if isinstance(thing, Thing)]
    if not known:
        raise Skip("no usable instance")
    strata = {"canvas": "that of the picture" if canvas else "square, for the picture is not there"}
    return Scene(sentence(known), things, canvas or SQUARE, strata, f"labels/{inner.as_posix()}.txt")


def _size(stem: Path) -> Canvas | None:
    for path in (stem.with_name(stem.name + suffix) for suffix in PICTURES):
        if path.is_file():
            with decoded("picture"), Image.open(path) as picture:
                return Canvas(*picture.size)
    return None


def _thing(canvas: Canvas, names: dict[int, str], fields: list[str]) -> Thing:
    kind = whole(fields[0], "class")
    if kind not in names:
        raise Skip("class without a name")
    name = respelt(names[kind], [])
    values = [number(v, "coordinate") for v in fields[1:]]
    if len(values) == 4:
        return Thing(with_article(name), corners(values, Convention.CXCYWH, Units.FRACTIONS, canvas), names[kind])
    if len(values) < 6 or len(values) % 2:
        raise Skip("neither a box of 4 numbers nor a polygon")
    points = np.clip(np.array(values).reshape(-1, 2), 0, 1) * [canvas.width, canvas.height]
    return Thing(with_article(name), None, names[kind], mask_of([points.ravel().tolist()], canvas))
