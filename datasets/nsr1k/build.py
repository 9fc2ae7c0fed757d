"""Reads the validation files of NSR-1K (Feng et al. 2023, LayoutGPT): counting and spatial prompts with COCO boxes.

The user's files have the form of the LayoutGPT repository's dataset/NSR-1K: `counting.val.json` and `spatial.val.json`,
each a list of records.  Every record ends kept, repaired or skipped, and every repair and skip has a counted reason.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError, unknown_name
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import json_of, listed
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.layout import ROUNDING, Box, Canvas, Instance, Layout, Sample

FILES = {
    "counting.val.json": "ff71561608d685f06601be11fac96dfd4c6905a52b5a3db8cb4ed63ab59d6601",
    "spatial.val.json": "46ed0a9abb8a84e7e3e79dd8835c24c3c775c7d0cf780ca046f92ef0592ad62f",
}
"""The files this was written for, with their sha256 (LayoutGPT commit fc31954)."""
CANVAS = Canvas(512, 512)
LICENCE = "MIT (LayoutGPT); boxes and captions derived from COCO, CC-BY-4.0"
IRREGULAR = {"knife": "knives", "mouse": "mice", "sheep": "sheep", "person": "people"}


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read the files at `source`: one file, or a folder with one or both (also in its `counting/` and `spatial/`).

    Raises LayoutmarkError if there is no such file, or a file is not a JSON list.
    """
    if name != "nsr1k":
        raise unknown_name("suite", name, ("nsr1k",))
    paths = _find(source)
    found: dict[str, tuple[Sample, list[str], str]] = {}
    ledger = Ledger()
    notes: list[str] = []
    for path in paths:
        raw = path.read_bytes()
        if FILES.get(path.name) != hashlib.sha256(raw).hexdigest():
            notes.append(f"{path.name} is not the file that the card describes")
        for number, record in enumerate(listed(json_of(path), f"suite nsr1k, {path.name}")):
            own = _id_of(record, path.name, number)
            try:
                sample, repairs = _sample(record, path.name)
                if sample.id in found:
                    raise Skip("id used before")
            except Skip as reason:
                ledger.skip("record", own, reason)
                continue
            found[sample.id] = sample, repairs, own
    notes += [f"{f} not given: its records are missing" for f in FILES if len(paths) == 1 and f != paths[0].name]
    samples = [sample for sample, _, _ in found.values()]
    shared = Counter(sample.prompt for sample in samples)
    for sample, repairs, own in found.values():
        ledger.keep("record", own, repairs, _flags(sample, shared))
    return built_suite(samples, ledger, notes)


def _id_of(record: Any, file: str, number: int) -> str:
    """The record's own id after the name of its file, else its position from 0."""
    own = record.get("id") if isinstance(record, Mapping) else None
    return f"{file} {own if isinstance(own, int | str) else f'record {number}'}"


def _flags(sample: Sample, shared: Mapping[str, int]) -> Iterator[str]:
    """What stays but should be known."""
    if sample.strata.get("counts") == "disagree":
        yield "counts in the record do not match its boxes"
    if any("in_prompt" in i.attributes for i in sample.layout.instances):
        yield "a noun is not in the prompt"
    if shared[sample.prompt] > 1:
        yield "prompt text shared with another record"


def _find(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    places = [(source / f, source / f.split(".")[0] / f) for f in FILES]
    found = [next(p for p in pair if p.is_file()) for pair in places if any(p.is_file() for p in pair)]
    if not found:
        raise LayoutmarkError(
            "suite nsr1k, source",
            found=f"neither file in {source.name or source}",
            expected=" or ".join(FILES),
            do="Give the folder dataset/NSR-1K of a LayoutGPT checkout.",
        )
    return found


def _sample(record: Any, file: str) -> tuple[Sample, list[str]]:
    """The sample of a record and what was repaired in it.  Raises Skip."""
    if not isinstance(record, Mapping):
        raise Skip("not a record")
    kind = "counting" if "object_list" in record else "spatial"
    try:
        number, text = int(record["id"]), str(record["prompt"])
        image, origin = int(record["image_id"]), str(record["type"])
        named = record["object_list"] if kind == "counting" else [record["obj1"], record["obj2"]]
        objects = [(str(noun), [float(v) for v in box]) for noun, box in named]
        promised = {str(noun): int(n) for noun, n in record["num_object"]} if kind == "counting" else None
        relation = None if kind == "counting" else str(record["relation"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Skip("a field is missing or of another type") from error
    prompt = " ".join(text.split())
    if not prompt:
        raise Skip("no prompt")
    if not objects:
        raise Skip("no object")
    repairs = ["stray blanks in the prompt"] if prompt != text else []
    boxes = [_box(values, repairs) for _, values in objects]
    nouns = [noun for noun, _ in objects]
    phrases = {noun: found_in(prompt, noun, nouns) for noun in nouns}
    instances = tuple(
        Instance(str(i), phrases[noun] or noun, noun, box, attributes={} if phrases[noun] else {"in_prompt": "no"})
        for i, (noun, box) in enumerate(zip(nouns, boxes, strict=True))
    )
    layout = Layout(CANVAS, instances)
    strata = {"kind": kind, "type": origin}
    if relation is not None:
        strata["relation"] = relation
    if promised is not None:
        strata["counts"] = "agree" if promised == dict(Counter(nouns)) else "disagree"
    provenance = {"source": f"NSR-1K {file}, record {number}", "image": f"COCO {image}", "licence": LICENCE}
    return Sample(f"nsr1k-{kind}-{number}", prompt, layout, strata, provenance), list(dict.fromkeys(repairs))


def _box(values: Sequence[float], repairs: list[str]) -> Box:
    """A box of x, y, width, height in fractions.  What rounding alone puts past the edge is clipped and counted."""
    if len(values) != 4 or not all(abs(v) < 1e6 for v in values):
        raise Skip("a box is not four finite numbers")
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise Skip("a box has no area")
    corners = (x, y, x + width, y + height)
    if min(corners) < -ROUNDING or max(corners) > 1 + ROUNDING:
        raise Skip("a box leaves the canvas")
    if min(corners) < 0 or max(corners) > 1:
        repairs.append("a box passed the edge by rounding")
    return Box.from_fractions_xywh(x, y, width, height)


def found_in(prompt: str, noun: str, nouns: Iterable[str]) -> str | None:
    """The noun as it stands in the prompt (first occurrence; singular or plural, any case), or None.

    A noun inside a longer one of the same layout does not count: the dog of "hot dog" is no dog.
    """
    for longer in nouns:
        if longer != noun and noun in longer.split():
            prompt = _pattern(longer).sub(" ", prompt)
    match = _pattern(noun).search(prompt)
    return match.group() if match else None


def _pattern(noun: str) -> re.Pattern[str]:
    head, _, last = noun.rpartition(" ")
    plurals = {last + "s", last + "es", IRREGULAR.get(last, last + "s")}
    if last.endswith("y"):
        plurals.add(last[:-1] + "ies")
    forms = "|".join(re.escape(f) for f in sorted({last, *plurals}, key=len, reverse=True))
    lead = re.escape(head) + r"\s+" if head else ""
    return re.compile(rf"\b{lead}(?:{forms})\b", re.IGNORECASE)
