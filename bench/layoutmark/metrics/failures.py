"""What went wrong with each target: exactly one kind of failure per target, and unexplained detections per image.

A target that is hit (`match_hits`) is `sound`, unless it looks like another instance's reference (`leaked_identity`),
like none (`wrong_identity`), or has a second detection of its category on it (`duplicated`). A target that is not hit
is

  merged         if one detection of its category covers at least half of it and half of another target of the category
  wrong_class    if an unused detection of another category lies on it
  misplaced      if an unused detection of its category lies elsewhere
  missing        otherwise.

"Lies on" means an IoU of at least 0.5. Detections that explain no target are counted as unexplained. The kinds resemble
those of TIDE (Bolya et al., ECCV 2020), which explains detections; here targets are explained.
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
from layoutmark.metrics.identity import crop_reference_cosines, distinct_identities
from layoutmark.metrics.matching import MIN_CONFIDENCE, generalised_iou, match_hits
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Score

MIN_IOU, MIN_COVER = 0.5, 0.5
MIN_IDENTITY_COSINE = 0.5
"""Lowest cosine with a reference at which a crop counts as looking like it."""
Floats = npt.NDArray[np.float64]


class Failure(StrEnum):
    """Kind of failure of one target; `SOUND` is none."""

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
    """The kind of failure of each instance, in the layout's order, and the number of unexplained detections."""

    kinds: tuple[Failure, ...]
    unexplained: int


def diagnose(layout: Layout, detections: Detections, cosines: Floats | None = None) -> Diagnosis:
    """Explain each target of an image by the detections of at least `MIN_CONFIDENCE`.

    Args:
        layout: The layout, with n instances.
        detections: The detections.
        cosines: Cosine of target crop i with reference j, shape (n, n), NaN where unknown. Identity is not judged
            without it, nor for an instance without a cosine with its own reference.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.5, 0.5, 1.0, 1.0), "dog": (0.8, 0.8, 1.0, 1.0)})
    >>> diagnosis = diagnose(image.sample.layout, image.detections)
    >>> [str(kind) for kind in diagnosis.kinds], diagnosis.unexplained
    (['misplaced'], 1)
    """
    is_confident, boxes = detections.scores >= MIN_CONFIDENCE, detections.boxes
    targets, categories = layout.boxes(), np.array([i.category for i in layout.instances], dtype=object)
    iou = box_iou(targets, boxes)
    same_category = categories[:, None] == np.array(detections.labels, dtype=object)[None, :]
    hits, is_unused = match_hits(layout, detections), is_confident.copy()
    is_unused[hits[hits >= 0]] = False
    kinds = [Failure.MISSING if j < 0 else Failure.SOUND for j in hits]

    covers = same_category & is_confident & (_covered_share(targets, boxes) >= MIN_COVER)
    for i in np.flatnonzero(hits < 0):
        merging = covers[i] & (covers.sum(axis=0) > 1)
        if merging.any():
            kinds[i] = Failure.MERGED
            is_unused[merging] = False
    for kind, gain in (
        (Failure.WRONG_CLASS, np.where(~same_category & (iou >= MIN_IOU), iou, 0.0)),
        (Failure.MISPLACED, np.where(same_category, generalised_iou(targets, boxes) + 2.0, 0.0)),
    ):
        rows = np.flatnonzero([k is Failure.MISSING for k in kinds])
        columns = np.flatnonzero(is_unused)
        for i, j in zip(*linear_sum_assignment(gain[np.ix_(rows, columns)], maximize=True), strict=True):
            if gain[rows[i], columns[j]] > 0:
                kinds[rows[i]] = kind
                is_unused[columns[j]] = False
    duplicates, are_distinct = same_category & (iou >= MIN_IOU) & is_unused, distinct_identities(layout.instances)
    for i in np.flatnonzero(hits >= 0):
        identity = Failure.SOUND if cosines is None else _judge_identity(int(i), cosines, are_distinct)
        kinds[i] = Failure.DUPLICATED if identity is Failure.SOUND and duplicates[i].any() else identity
        is_unused[duplicates[i]] = False
    return Diagnosis(tuple(kinds), int(is_unused.sum()))


def _judge_identity(i: int, cosines: Floats, are_distinct: npt.NDArray[np.bool_]) -> Failure:
    own_cosine = cosines[i, i]
    if not np.isfinite(own_cosine):
        return Failure.SOUND
    nearest_other = float(np.max(cosines[i], where=are_distinct[i] & np.isfinite(cosines[i]), initial=-1.0))
    if nearest_other > own_cosine and nearest_other >= MIN_IDENTITY_COSINE:
        return Failure.LEAKED_IDENTITY
    return Failure.SOUND if own_cosine >= MIN_IDENTITY_COSINE else Failure.WRONG_IDENTITY


def _covered_share(targets: Floats, boxes: Floats) -> Floats:
    """Share (n, m) of each target's area that lies inside each box."""
    low = np.maximum(targets[:, None, :2], boxes[None, :, :2])
    high = np.minimum(targets[:, None, 2:], boxes[None, :, 2:])
    intersection = np.clip(high - low, 0.0, None).prod(axis=-1)
    area = (targets[:, 2:] - targets[:, :2]).prod(axis=-1)
    return np.asarray(intersection / area[:, None], dtype=np.float64)


@dataclass(frozen=True)
class DiagnosisCache:
    """Diagnoses of images, computed once for all kinds of failure.

    `encoder` is the role of the encoder that judges identity, or None if identity is not judged.
    """

    encoder: str | None
    cache: dict[Evidence, Diagnosis] = field(default_factory=dict)

    def diagnosis(self, evidence: Evidence, detections: Detections) -> Diagnosis:
        """The diagnosis of one image."""
        if evidence not in self.cache:
            cosines = crop_reference_cosines(evidence, self.encoder) if self.encoder else None
            self.cache[evidence] = diagnose(evidence.sample.layout, detections, cosines)
        return self.cache[evidence]

    def share(self, kind: Failure, evidence: Evidence, detections: Detections) -> SampleOutcome:
        """Share of an image's instances with this kind of failure."""
        kinds = self.diagnosis(evidence, detections).kinds
        return mean_of_instances(evidence, [Score(float(k is kind)) for k in kinds])

    def unexplained(self, evidence: Evidence, detections: Detections) -> SampleOutcome:
        """Number of unexplained detections of an image."""
        count = float(self.diagnosis(evidence, detections).unexplained)
        return SampleOutcome(evidence.sample.id, evidence.seed, Score(count))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """A share per kind of failure and `unexplained`, if there is a detector; identity is judged by DINO, else by CLIP.

    >>> [metric.info.name for metric in metrics({"detector": "yolo"})][:3]
    ['targets_sound', 'targets_missing', 'targets_misplaced']
    """
    if "detector" not in scorers:
        return ()
    encoder = next((role for role in ("dino", "clip") if role in scorers), None)
    how = f"box, conf>={MIN_CONFIDENCE}, IoU>={MIN_IOU}, detector {scorers['detector']}"
    if encoder is not None:
        how += f", identity by target crops, cosine>={MIN_IDENTITY_COSINE}, {scorers[encoder]}"
    diagnoses = DiagnosisCache(encoder)
    shares = [
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
            partial(diagnoses.share, kind),
        )
        for kind in Failure
        if encoder is not None or kind not in (Failure.LEAKED_IDENTITY, Failure.WRONG_IDENTITY)
    ]
    info = MetricInfo(
        "unexplained", f"unexplained[detections, {how}]", "Unexplained detections", "per image", Direction.LOWER, 0.0,
        float(MAX_DETECTIONS), "1",
    )  # fmt: skip
    return (*shares, MatchMetric(info, diagnoses.unexplained))
