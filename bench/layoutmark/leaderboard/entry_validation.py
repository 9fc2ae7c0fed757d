"""Whether an entry holds what it must and agrees with itself, whatever its digests say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard.entry import AUTHORS, MATCHED, REFERENCE, Entry, board_protocol
from layoutmark.metrics import all_metrics
from layoutmark.score import SCORED, MetricInfo, Status

if TYPE_CHECKING:
    import pandas as pd

ROW: dict[str, type] = {
    "name": str, "kind": str, "title": str, "version": str, "settings": dict, "inputs": list, "deviations": list,
    "counts": dict,
}  # fmt: skip
FACTS: dict[str, type] = {"overrides": dict, "because": str, "metrics": list, "protocol": dict}
ROW_ALSO, FACTS_ALSO = ("preset", "code", "weights"), ("seconds_per_image",)
"""Fields that may be null."""
NUMBERS = ("seed", "x0", "y0", "x1", "y1", "score")
COLUMNS = ("method", "sample", "label", *NUMBERS)
BROKEN = (KeyError, TypeError, ValueError, AttributeError)


def form_faults(
    facts: Mapping[str, Any], images: Sequence[Mapping[str, Any]], detections: pd.DataFrame,
    samples: Sequence[Mapping[str, Any]],
) -> list[str]:  # fmt: skip
    """What an entry of these parts lacks, or where it contradicts itself; empty if nowhere.

    `samples` are those of the board.
    """
    if odd := list(_parts(facts)):
        return odd
    try:
        return [*_images(facts, images, samples), *_scores(facts, images), *_detections(facts, detections)]
    except BROKEN as error:
        # What is not even of the right type has many ways to break; each is told as it came.
        return [f"not in the form that `leaderboard submit` writes: {type(error).__name__}: {error}"]


def _parts(facts: Mapping[str, Any]) -> Iterator[str]:
    """Fields of entry.json, its track, and the digest of its protocol."""
    row, track = facts["row"], facts["track"]
    for held, wanted, nullable in ((row, ROW, ROW_ALSO), (facts, FACTS, FACTS_ALSO)):
        odd = [n for n, kind in wanted.items() if not isinstance(held.get(n), kind)]
        yield from (f"{name} is not what `leaderboard submit` writes" for name in odd)
        yield from (f"no {name}" for name in nullable if name not in held)
    if track not in (AUTHORS, MATCHED, REFERENCE):
        yield f"track {track!r}; known are {AUTHORS}, {MATCHED} and {REFERENCE}"
    elif (track == REFERENCE) != (row.get("kind") == REFERENCE):
        yield f"track {track} for a row of kind {row.get('kind')!r}"
    try:
        protocol, versions = facts["protocol"], {m["name"]: m["version"] for m in facts["metrics"]}
        if board_protocol(protocol["parts"], versions)["hash"] != protocol["hash"]:
            yield "its protocol does not have the digest it names"
    except BROKEN as error:
        yield f"its protocol cannot be read: {type(error).__name__}: {error}"


def _images(
    facts: Mapping[str, Any], images: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """One image of this method for each sample and seed, and counts that are those of its images."""
    seeds = facts["protocol"]["parts"]["seeds"]
    wanted = Counter((facts["row"]["name"], sample["id"], seed) for sample in samples for seed in seeds)
    held = Counter((i["method"], i["sample"], i["seed"]) for i in images)
    if absent := (wanted - held).total():
        yield f"incomplete: {absent} of {wanted.total()} images that the board asks for are not stored"
    if more := (held - wanted).total():
        yield f"images that nobody asked for, or stored twice: {more}"
    if odd := sum(not (isinstance(i["notes"], dict) and isinstance(i["reason"], str)) for i in images):
        yield f"{odd} images whose notes or reason cannot be read"
    counts = facts["row"]["counts"]
    found = Counter(str(i["status"]) for i in images)
    if unknown := sorted(set(found) - {str(s) for s in Status}):
        yield f"status {unknown[0]!r} of an image"
    told = {status: n for status, n in counts.items() if n and status != "requested"}
    if counts.get("requested") != len(images) or told != found:
        yield "counts that are not those of its images"


def _scores(facts: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Every headline score or its reason, within the metric's range, and none for an image without pixels."""
    names = facts["protocol"]["parts"]["stack"]["names"]
    known: dict[str, MetricInfo] = {m.info.name: m.info for m in all_metrics(names)}
    scored = {str(s) for s in SCORED}
    for name in (m["name"] for m in facts["metrics"]):
        values = [(i, i["scores"].get(name)) for i in images]
        if absent := sum(not isinstance(v, int | float | dict) for _, v in values):
            yield f"{name} of {absent} images is neither a score nor a reason"
        numbers = [(i, float(v)) for i, v in values if isinstance(v, int | float)]
        if untold := sum(not isinstance(v["unscored"], str) for _, v in values if isinstance(v, dict)):
            yield f"{name} of {untold} images has no reason"
        if lost := sum(i["status"] not in scored or i["image"] is None for i, _ in numbers):
            yield f"{name} of {lost} images without pixels has a score"
        low, high = (known[name].low, known[name].high) if name in known else (-math.inf, math.inf)
        if beyond := sum(not low <= value <= high for _, value in numbers):
            yield f"{name} of {beyond} images is outside {low:g} to {high:g}"


def _detections(facts: Mapping[str, Any], found: pd.DataFrame) -> Iterator[str]:
    if absent := [c for c in COLUMNS if c not in found]:
        yield f"detections without {', '.join(absent)}"
    elif other := int((found["method"] != facts["row"]["name"]).sum()):
        yield f"{other} detections of another method"
    elif not np.isfinite(found[list(NUMBERS)].to_numpy(dtype=np.float64)).all():
        yield "detections whose numbers are not finite"


def refuse_odd(entry: Entry, samples: Sequence[Mapping[str, Any]]) -> None:
    """Raise LayoutmarkError for an entry that has a fault of form."""
    if faults := form_faults(entry.facts, entry.images, entry.detections, samples):
        raise LayoutmarkError(
            f"leaderboard entry {entry.label}", found=faults[0], expected="an entry as it was submitted",
            do="Restore it from history. All faults: layoutmark leaderboard check",
        )  # fmt: skip
