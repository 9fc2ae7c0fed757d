"""Check that an entry is complete and consistent, independently of its digests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard.entry import ENTRY_FILE, IMAGES_FILE, REFERENCE, Entry, make_board_protocol
from layoutmark.leaderboard.entry_schema import EntryFacts, EntryImage
from layoutmark.metrics import all_metrics
from layoutmark.plurals import counted
from layoutmark.score import SCORED_STATUSES, MetricInfo
from layoutmark.validation import find_problems

if TYPE_CHECKING:
    import pandas as pd

NUMBER_COLUMNS = ("seed", "x0", "y0", "x1", "y1", "score")
COLUMNS = ("method", "sample", "label", *NUMBER_COLUMNS)


def find_entry_problems(
    facts: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]],
    detections: pd.DataFrame,
    samples: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Return what is missing, malformed or contradictory in an entry.

    Args:
        facts: content of entry.json.
        images: content of images.json.gz.
        detections: content of detections.parquet.
        samples: the samples of the board.
    """
    if malformed := [
        *_malformed(facts, EntryFacts, ENTRY_FILE),
        *_malformed(images, tuple[EntryImage, ...], IMAGES_FILE),
    ]:
        return malformed
    return [
        *_check_facts(facts),
        *_check_images(facts, images, samples),
        *_check_scores(facts, images),
        *_check_detections(facts, detections),
    ]


def check_entry(entry: Entry, samples: Sequence[Mapping[str, Any]]) -> None:
    """Raise LayoutmarkError if an entry is incomplete or inconsistent."""
    if problems := find_entry_problems(entry.facts, entry.images, entry.detections, samples):
        raise LayoutmarkError(
            f"leaderboard entry {entry.label}", found=problems[0], expected="an entry as it was submitted",
            do="Restore it from history. All problems: layoutmark leaderboard check",
        )  # fmt: skip


def _malformed(data: object, target: Any, file_name: str) -> list[str]:
    return [f"{p.what}: found {p.found}; expected {p.expected}" for p in find_problems(data, target, file_name)[:1]]


def _check_facts(facts: Mapping[str, Any]) -> Iterator[str]:
    """Check the track and the digest of the protocol."""
    row, track, protocol = facts["row"], facts["track"], facts["protocol"]
    if (track == REFERENCE) != (row["kind"] == REFERENCE):
        yield f"track {track} for a row of kind {row['kind']!r}"
    versions = {m["name"]: m["version"] for m in facts["metrics"]}
    if make_board_protocol(protocol["parts"], versions)["hash"] != protocol["hash"]:
        yield "the protocol's digest is not the one stored"


def _check_images(
    facts: Mapping[str, Any], images: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Check that each sample and seed has one image of this method, and that the counts are right."""
    seeds = facts["protocol"]["parts"]["seeds"]
    expected = Counter((facts["row"]["name"], sample["id"], seed) for sample in samples for seed in seeds)
    stored = Counter((i["method"], i["sample"], i["seed"]) for i in images)
    if missing := (expected - stored).total():
        yield f"incomplete: {missing} of {counted(expected.total(), 'image')} of the board not stored"
    if unexpected := (stored - expected).total():
        yield f"{counted(unexpected, 'image')} not on the board, or stored twice"
    counts = {status: n for status, n in facts["row"]["counts"].items() if n and status != "requested"}
    if facts["row"]["counts"].get("requested") != len(images) or counts != Counter(i["status"] for i in images):
        yield "counts that do not match the images"


def _check_scores(facts: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Check that each image has every headline score or a reason, that scores are in range and belong to pixels."""
    scorer_names = facts["protocol"]["parts"]["stack"]["names"]
    infos: dict[str, MetricInfo] = {m.info.name: m.info for m in all_metrics(scorer_names)}
    scored_statuses = {str(s) for s in SCORED_STATUSES}
    for name in (m["name"] for m in facts["metrics"]):
        values = [(image, image["scores"].get(name)) for image in images]
        if missing := sum(value is None for _, value in values):
            yield f"{name} of {counted(missing, 'image')} has neither a score nor a reason"
        numbers = [(image, float(value)) for image, value in values if isinstance(value, int | float)]
        if impossible := sum(i["status"] not in scored_statuses or i["image"] is None for i, _ in numbers):
            yield f"{name} of {counted(impossible, 'image')} without pixels has a score"
        low, high = (infos[name].low, infos[name].high) if name in infos else (-math.inf, math.inf)
        if outside := sum(not low <= value <= high for _, value in numbers):
            yield f"{name} of {counted(outside, 'image')} is outside {low:g} to {high:g}"


def _check_detections(facts: Mapping[str, Any], detections: pd.DataFrame) -> Iterator[str]:
    if missing := [c for c in COLUMNS if c not in detections]:
        yield f"detections without {', '.join(missing)}"
        return
    if others := int((detections["method"] != facts["row"]["name"]).sum()):
        yield f"{counted(others, 'detection')} of another method"
    try:
        is_finite = bool(np.isfinite(detections[list(NUMBER_COLUMNS)].to_numpy(dtype=np.float64)).all())
    except (TypeError, ValueError):
        is_finite = False
    if not is_finite:
        yield "detections whose numbers are not finite"
