"""Labels in YOLO's format: one text file per image and one line per instance.

A line is a class number followed by a box (centre and size) or a polygon, in fractions of the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, to_corners
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import invalid_input_error, read_text
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import decode_mask
from layoutmark.ingest.phrases import add_article, make_prompt, normalise_label
from layoutmark.ingest.references import skip_unreadable
from layoutmark.ingest.scenes import DEFAULT_CANVAS, RawInstance, Record, Scene, build_samples, read_each
from layoutmark.ingest.values import parse_integer, parse_number
from layoutmark.layout import Canvas

LICENCE = "not stated in the files"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
CLASS_NAME_LINE = re.compile(r"^\s*(?:-|(\d+)\s*:)\s*(.+?)\s*$")
"""A line of a YAML list, or of a YAML mapping from number to name."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read `labels/**/*.txt` in a folder, with class names from `classes.txt` or from `names:` in a YAML file.

    Raises LayoutmarkError if there are no labels or no class names.
    """
    paths = sorted((source / "labels").glob("**/*.txt"))
    if not paths:
        raise invalid_input_error(
            f"suite {name}, source", "no labels/*.txt", "a folder with labels/", "Check --source."
        )
    class_names = _read_class_names(source)
    ledger = Ledger()
    samples = build_samples(name, _iter_records(source, paths, class_names), LICENCE, ledger, "picture")
    return assemble_suite(samples, ledger)


def _read_class_names(source: Path) -> dict[int, str]:
    """Class names by number."""
    if (source / "classes.txt").is_file():
        lines = read_text(source / "classes.txt").splitlines()
        return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    for path in sorted([*source.glob("*.yaml"), *source.glob("*.yml")]):
        _, key, value = read_text(path).partition("names:")
        if key:
            return _parse_names(value)
    raise invalid_input_error(
        "class names",
        f"neither classes.txt nor names in a YAML file of {source.name}",
        "one of the two",
        "Add a file classes.txt with one class name per line.",
    )


def _parse_names(text: str) -> dict[int, str]:
    """Parse the value of `names:`, written as `[cat, dog]`, as `- cat` lines, or as `0: cat` lines."""
    if text.lstrip(" ").startswith("["):
        items = text.partition("[")[2].partition("]")[0].split(",")
        return {n: name.strip(" '\"\n") for n, name in enumerate(items)}
    names: dict[int, str] = {}
    for line in text.splitlines()[1:]:
        match = CLASS_NAME_LINE.match(line)
        if match is None:
            if line.strip() and not line.lstrip().startswith("#"):
                break
            continue
        names[int(match[1]) if match[1] else len(names)] = match[2].strip("'\"")
    return names


def _iter_records(source: Path, paths: list[Path], class_names: dict[int, str]) -> Iterator[Record]:
    for path in paths:
        image_path = path.relative_to(source / "labels").with_suffix("")
        yield image_path.as_posix(), partial(_read_scene, source, path, image_path, class_names)


def _read_scene(source: Path, path: Path, image_path: Path, class_names: dict[int, str]) -> Scene:
    """`image_path` is that of the image, relative to `images/` and without suffix."""
    canvas = _read_image_size(source / "images" / image_path)
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    instances = read_each(partial(_read_instance, canvas or DEFAULT_CANVAS, class_names), lines)
    nouns = [normalise_label(instance.category, []) for instance in instances if isinstance(instance, RawInstance)]
    if not nouns:
        raise Skip("no usable instance")
    strata = {"canvas": "that of the picture" if canvas else "square, for the picture is not there"}
    label_file = f"labels/{image_path.as_posix()}.txt"
    return Scene(make_prompt(nouns), instances, canvas or DEFAULT_CANVAS, strata, label_file)


def _read_image_size(stem: Path) -> Canvas | None:
    for path in (stem.with_name(stem.name + suffix) for suffix in IMAGE_SUFFIXES):
        if path.is_file():
            with skip_unreadable("picture"), Image.open(path) as image:
                return Canvas(*image.size)
    return None


def _read_instance(canvas: Canvas, class_names: dict[int, str], fields: list[str]) -> RawInstance:
    class_number = parse_integer(fields[0], "class")
    if class_number not in class_names:
        raise Skip("class without a name")
    category = class_names[class_number]
    phrase = add_article(normalise_label(category, []))
    values = [parse_number(v, "coordinate") for v in fields[1:]]
    if len(values) == 4:
        return RawInstance(phrase, to_corners(values, Convention.CXCYWH, Units.FRACTIONS, canvas), category)
    if len(values) < 6 or len(values) % 2:
        raise Skip("neither a box of 4 numbers nor a polygon")
    points = np.clip(np.array(values).reshape(-1, 2), 0, 1) * [canvas.width, canvas.height]
    return RawInstance(phrase, None, category, decode_mask([points.ravel().tolist()], canvas))
