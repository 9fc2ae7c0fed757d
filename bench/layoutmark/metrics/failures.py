"""What went wrong with each thing: one kind per target, so that shares add up to 1, and extras per image.

A target that is hit (`matching.hits`) is `sound` unless it has another's look (`leaked_identity`), a look of nobody
(`wrong_identity`), or a second detection of its category on it (`duplicated`).  One that is not hit is
  merged         if one detection of its category covers at least half of it and half of another target of that category
  wrong_class    if a detection of another category, that serves no one else, lies on it
  misplaced      if a detection of its category, that serves no one else, lies elsewhere
  missing        if none of these holds.
"Lies on" is an IoU of at least 0.5.  Extras are the detections that all this leaves unexplained.
The kinds are close to those of TIDE (Bolya et al., ECCV 2020), which explains detections; here targets are explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import Layout, box_iou
from layoutmark.metrics.aggregation import mean_of_instances
from layoutmark.metrics.coco import MAX_DETECTIONS
from layoutmark.metrics.identity import others, similarities
from layoutmark.metrics.matching import CONFIDENCE, generalised_iou, hits
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Score

IOU, COVER = 0.5, 0.5
ALIKE = 0.5
"""Least cosine with a reference that counts as its look."""
Floats = npt.NDArray[np.float64]


class Failure(StrEnum):
    """What became of one target."""

    SOUND = "sound"
    MISSING = "missing"
    MISPLACED = "misplaced"
    WRONG_CLASS = "wrong_class"
    MERGED = "merged"
    DUPLICATED = "duplicated"
    LEAKED_IDENTITY = "leaked_identity"
    WRONG_IDENTITY = "wrong_identity"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The kind of each instance, in the layout's order, and how many detections nothing explains."""

    kinds: tuple[Failure, ...]
    extra: int


def diagnose(layout: Layout, detections: Detections, similar: Floats | None = None) -> Diagnosis:
    """Explain an image by its detections of at least the stated confidence.

    similar: cosine (n, n) of target crop i with reference j, NaN where there is none; without it, or for an instance
    without its own cosine, identity is not judged.
    """
    sure, boxes = detections.scores >= CONFIDENCE, detections.boxes
    targets, wanted = layout.boxes(), np.array([i.category for i in layout.instances], dtype=object)
    overlap, same = box_iou(targets, boxes), wanted[:, None] == np.array(detections.labels, dtype=object)[None, :]
    hit, free = hits(layout, detections), sure.copy()
    free[hit[hit >= 0]] = False
    kinds = [Failure.MISSING if j < 0 else Failure.SOUND for j in hit]

    covered = same & sure & (_cover(targets, boxes) >= COVER)
    for i in np.flatnonzero(hit < 0):
        merging = covered[i] & (covered.sum(axis=0) > 1)
        if merging.any():
            kinds[i] = Failure.MERGED
            free[merging] = False
    for kind, worth in (
        (Failure.WRONG_CLASS, np.where(~same & (overlap >= IOU), overlap, 0.0)),
        (Failure.MISPLACED, np.where(same, generalised_iou(targets, boxes) + 2.0, 0.0)),
    ):
        rows = np.flatnonzero([k is Failure.MISSING for k in kinds])
        columns = np.flatnonzero(free)
        for i, j in zip(*linear_sum_assignment(worth[np.ix_(rows, columns)], maximize=True), strict=True):
            if worth[rows[i], columns[j]] > 0:
                kinds[rows[i]] = kind
                free[columns[j]] = False
    copies, other = same & (overlap >= IOU) & free, others(layout.instances)
    for i in np.flatnonzero(hit >= 0):
        look = Failure.SOUND if similar is None else _identity(int(i), similar, other)
        kinds[i] = Failure.DUPLICATED if look is Failure.SOUND and copies[i].any() else look
        free[copies[i]] = False
    return Diagnosis(tuple(kinds), int(free.sum()))


def _identity(i: int, similar: Floats, other: npt.NDArray[np.bool_]) -> Failure:
    if not np.isfinite(similar[i, i]):
        return Failure.SOUND
    nearest = float(np.max(similar[i], where=other[i] & np.isfinite(similar[i]), initial=-1.0))
    if nearest > similar[i, i] and nearest >= ALIKE:
        return Failure.LEAKED_IDENTITY
    return Failure.SOUND if similar[i, i] >= ALIKE else Failure.WRONG_IDENTITY


def _cover(targets: Floats, boxes: Floats) -> Floats:
    """Share (n, m) of each target's area inside each box."""
    low = np.maximum(targets[:, None, :2], boxes[None, :, :2])
    high = np.minimum(targets[:, None, 2:], boxes[None, :, 2:])
    inside = np.clip(high - low, 0.0, None).prod(axis=-1)
    area = (targets[:, 2:] - targets[:, :2]).prod(axis=-1)
    return np.asarray(inside / area[:, None], dtype=np.float64)


@dataclass(frozen=True)
class Diagnoses:
    """Diagnoses of evidence, made once for all kinds; `encoder` judges identity (None: not judged)."""

    encoder: str | None
    made: dict[Evidence, Diagnosis] = field(default_factory=dict)

    def of(self, evidence: Evidence, detections: Detections) -> Diagnosis:
        """The diagnosis of one image."""
        if evidence not in self.made:
            similar = similarities(evidence, self.encoder) if self.encoder else None
            self.made[evidence] = diagnose(evidence.sample.layout, detections, similar)
        return self.made[evidence]

    def share(self, kind: Failure, evidence: Evidence, detections: Detections) -> SampleOutcome:
        """1 for each instance of this kind, 0 for the others; the image is their mean."""
        kinds = self.of(evidence, detections).kinds
        return mean_of_instances(evidence, [Score(float(k is kind)) for k in kinds])

    def extra(self, evidence: Evidence, detections: Detections) -> SampleOutcome:
        """How many detections of an image nothing explains."""
        return SampleOutcome(evidence.sample.id, evidence.seed, Score(float(self.of(evidence, detections).extra)))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """A share per kind and `unexplained`, where there is a detector; identity is judged by DINO, else by CLIP."""
    if "detector" not in scorers:
        return ()
    encoder = next((kind for kind in ("dino", "clip") if kind in scorers), None)
    how = f"box, conf>={CONFIDENCE}, IoU>={IOU}, detector {scorers['detector']}"
    if encoder is not None:
        how += f", identity by target crops, cosine>={ALIKE}, {scorers[encoder]}"
    made = Diagnoses(encoder)
    found = [
        MatchMetric(
            MetricInfo(
                f"targets_{kind}",
                f"targets_{kind}[{how}]",
                f"Targets: {kind.replace('_', ' ')}",
                "share",
                Direction.HIGHER if kind is Failure.SOUND else Direction.LOWER,
                0.0,
                1.0,
                "1",
            ),
            partial(made.share, kind),
        )
        for kind in Failure
        if encoder is not None or kind not in (Failure.LEAKED_IDENTITY, Failure.WRONG_IDENTITY)
    ]
    extra = MetricInfo(
        "unexplained", f"unexplained[detections, {how}]", "Unexplained things", "per image", Direction.LOWER, 0.0,
        float(MAX_DETECTIONS), "1",
    )  # fmt: skip
    return (*found, MatchMetric(extra, made.extra))
