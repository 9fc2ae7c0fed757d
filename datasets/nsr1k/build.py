"""The validation files of NSR-1K (Feng et al. 2023, LayoutGPT): counting and spatial prompts with COCO boxes.

The files are those of dataset/NSR-1K in the LayoutGPT repository, `counting.val.json` and `spatial.val.json`: lists of
records.  Each record is kept, repaired or skipped, and each repair and skip is counted by reason.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError, unknown_name_error
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import read_json
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.values import require_list
from layoutmark.layout import MAX_ROUNDING_ERROR, Box, Canvas, Instance, Layout, Sample

FILE_DIGESTS = {
    "counting.val.json": "ff71561608d685f06601be11fac96dfd4c6905a52b5a3db8cb4ed63ab59d6601",
    "spatial.val.json": "46ed0a9abb8a84e7e3e79dd8835c24c3c775c7d0cf780ca046f92ef0592ad62f",
}
"""The files this reader was written for, with their sha256 (LayoutGPT commit fc31954)."""
CANVAS = Canvas(512, 512)
LICENCE = "MIT (LayoutGPT); boxes and captions derived from COCO, CC-BY-4.0"
IRREGULAR_PLURALS = {"knife": "knives", "mouse": "mice", "sheep": "sheep", "person": "people"}


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read one file, or the files in a folder or in its `counting/` and `spatial/`.

    Raises LayoutmarkError if there is no such file, or if a file is not a JSON list.
    """
    if name != "nsr1k":
        raise unknown_name_error("suite", name, ("nsr1k",))
    paths = _find_files(source)
    results: dict[str, tuple[Sample, list[str], str]] = {}
    ledger = Ledger()
    notes: list[str] = []
    for path in paths:
        if FILE_DIGESTS.get(path.name) != hashlib.sha256(path.read_bytes()).hexdigest():
            notes.append(f"{path.name} is not the file that the card describes")
        for number, record in enumerate(require_list(read_json(path), f"suite nsr1k, {path.name}")):
            record_id = _ledger_id(record, path.name, number)
            try:
                sample, repairs = _read_sample(record, path.name)
                if sample.id in results:
                    raise Skip("id used before")
            except Skip as reason:
                ledger.skip("record", record_id, reason)
                continue
            results[sample.id] = sample, repairs, record_id
    notes += [f"{f} not given: its records are missing" for f in FILE_DIGESTS if len(paths) == 1 and f != paths[0].name]
    samples = [sample for sample, _, _ in results.values()]
    prompt_counts = Counter(sample.prompt for sample in samples)
    for sample, repairs, record_id in results.values():
        ledger.keep("record", record_id, repairs, _iter_flags(sample, prompt_counts))
    return assemble_suite(samples, ledger, notes)


def find_in_prompt(prompt: str, noun: str, nouns: Iterable[str]) -> str | None:
    """The first occurrence of a noun in the prompt, singular or plural and in any case, as the prompt has it, or None.

    An occurrence inside a longer noun of the same layout does not count: "hot dog" does not contain the noun "dog".

    >>> find_in_prompt("two Clocks", "clock", ["clock"])
    'Clocks'
    """
    for longer_noun in nouns:
        if longer_noun != noun and noun in longer_noun.split():
            prompt = _noun_pattern(longer_noun).sub(" ", prompt)
    match = _noun_pattern(noun).search(prompt)
    return match.group() if match else None


def _find_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    candidates = [(source / f, source / f.split(".")[0] / f) for f in FILE_DIGESTS]
    paths = [next(p for p in pair if p.is_file()) for pair in candidates if any(p.is_file() for p in pair)]
    if not paths:
        raise LayoutmarkError(
            "suite nsr1k, source",
            found=f"neither file in {source.name or source}",
            expected=" or ".join(FILE_DIGESTS),
            do="Give --source the folder dataset/NSR-1K of a LayoutGPT checkout.",
        )
    return paths


def _ledger_id(record: Any, file_name: str, number: int) -> str:
    """The file's name and the record's own id, or its position from 0 if it has none."""
    record_id = record.get("id") if isinstance(record, Mapping) else None
    return f"{file_name} {record_id if isinstance(record_id, int | str) else f'record {number}'}"


def _iter_flags(sample: Sample, prompt_counts: Mapping[str, int]) -> Iterator[str]:
    if sample.strata.get("counts") == "disagree":
        yield "counts in the record do not match its boxes"
    if any("in_prompt" in i.attributes for i in sample.layout.instances):
        yield "a noun is not in the prompt"
    if prompt_counts[sample.prompt] > 1:
        yield "prompt text shared with another record"


def _read_sample(record: Any, file_name: str) -> tuple[Sample, list[str]]:
    """The sample of a record, and what was repaired in it.  Raises Skip."""
    if not isinstance(record, Mapping):
        raise Skip("not a record")
    kind = "counting" if "object_list" in record else "spatial"
    try:
        number, text = int(record["id"]), str(record["prompt"])
        image_id, origin = int(record["image_id"]), str(record["type"])
        named_boxes = record["object_list"] if kind == "counting" else [record["obj1"], record["obj2"]]
        objects = [(str(noun), [float(v) for v in box]) for noun, box in named_boxes]
        stated_counts = {str(noun): int(n) for noun, n in record["num_object"]} if kind == "counting" else None
        relation = None if kind == "counting" else str(record["relation"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Skip("a field is missing or of another type") from error
    prompt = " ".join(text.split())
    if not prompt:
        raise Skip("no prompt")
    if not objects:
        raise Skip("no object")
    repairs = ["stray blanks in the prompt"] if prompt != text else []
    boxes = [_make_box(values, repairs) for _, values in objects]
    nouns = [noun for noun, _ in objects]
    phrases = {noun: find_in_prompt(prompt, noun, nouns) for noun in nouns}
    instances = tuple(
        Instance(str(i), phrases[noun] or noun, noun, box, attributes={} if phrases[noun] else {"in_prompt": "no"})
        for i, (noun, box) in enumerate(zip(nouns, boxes, strict=True))
    )
    strata = {"kind": kind, "type": origin}
    if relation is not None:
        strata["relation"] = relation
    if stated_counts is not None:
        strata["counts"] = "agree" if stated_counts == dict(Counter(nouns)) else "disagree"
    provenance = {"source": f"NSR-1K {file_name}, record {number}", "image": f"COCO {image_id}", "licence": LICENCE}
    sample = Sample(f"nsr1k-{kind}-{number}", prompt, Layout(CANVAS, instances), strata, provenance)
    return sample, list(dict.fromkeys(repairs))


def _make_box(values: Sequence[float], repairs: list[str]) -> Box:
    """The box of x, y, width, height in fractions.  It is clipped, with a repair, only by what rounding explains."""
    if len(values) != 4 or not all(abs(v) < 1e6 for v in values):
        raise Skip("a box is not four finite numbers")
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise Skip("a box has no area")
    corners = (x, y, x + width, y + height)
    if min(corners) < -MAX_ROUNDING_ERROR or max(corners) > 1 + MAX_ROUNDING_ERROR:
        raise Skip("a box leaves the canvas")
    if min(corners) < 0 or max(corners) > 1:
        repairs.append("a box passed the edge by rounding")
    return Box.from_fractions_xywh(x, y, width, height)


def _noun_pattern(noun: str) -> re.Pattern[str]:
    """Matches the noun, singular or plural."""
    modifiers, _, head = noun.rpartition(" ")
    plurals = {head + "s", head + "es", IRREGULAR_PLURALS.get(head, head + "s")}
    if head.endswith("y"):
        plurals.add(head[:-1] + "ies")
    forms = "|".join(re.escape(f) for f in sorted({head, *plurals}, key=len, reverse=True))
    prefix = re.escape(modifiers) + r"\s+" if modifiers else ""
    return re.compile(rf"\b{prefix}(?:{forms})\b", re.IGNORECASE)
