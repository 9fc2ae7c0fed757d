"""One-to-one assignment of detections to instances, within a category: no detection serves two targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from layoutmark.evidence import Detections
from layoutmark.layout import Layout, box_iou

CONFIDENCE = 0.25
"""Least confidence of a detection that counts as seen, wherever a metric does not rank detections itself."""

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Gain = Callable[[Floats, Floats], Floats]
"""What each pair is worth: boxes (n, 4) and (m, 4), normalised xyxy, give (n, m)."""


def best_overlap(layout: Layout, detections: Detections, confidence: float = CONFIDENCE) -> Floats:
    """IoU (n,) of each instance with the detection assigned to it; 0 where there is none.

    The assignment has the greatest sum of IoU (Hungarian algorithm, Kuhn 1955) within each category.
    """
    matched = assign(layout, detections, box_iou, confidence)
    ious = box_iou(layout.boxes(), detections.boxes)
    return np.array([ious[i, j] if j >= 0 else 0.0 for i, j in enumerate(matched)], dtype=np.float64)


def hits(layout: Layout, detections: Detections, iou: float = 0.5, confidence: float = CONFIDENCE) -> Indices:
    """Index (n,) of the detection that hits each instance with at least `iou`, or -1.

    As many instances as possible are hit; among such assignments the one with the greatest sum of IoU is taken.
    """

    def gain(targets: Floats, boxes: Floats) -> Floats:
        overlap = box_iou(targets, boxes)
        # A hit outweighs the overlaps of a whole matching, so the count comes first and the overlap second.
        return np.where(overlap >= iou, 1.0 + overlap / (min(overlap.shape) + 1), 0.0)

    return assign(layout, detections, gain, confidence)


def likeliest(layout: Layout, detections: Detections, confidence: float = CONFIDENCE) -> Indices:
    """Index (n,) of the detection taken for each instance wherever it lies, or -1 if its category has none left.

    The assignment has the greatest sum of generalised IoU (Rezatofighi et al., CVPR 2019), which also ranks boxes that
    do not touch; 2 is added so that every pair is better than none.
    """
    return assign(layout, detections, lambda a, b: generalised_iou(a, b) + 2.0, confidence)


def assign(layout: Layout, detections: Detections, gain: Gain, confidence: float) -> Indices:
    """Index (n,) of the detection assigned to each instance, or -1; pairs without positive gain are not made.

    Only detections of the instance's category with a score of at least `confidence` take part.
    """
    matched = np.full(len(layout.instances), -1, dtype=np.intp)
    targets, wanted = layout.boxes(), np.array([i.category for i in layout.instances], dtype=object)
    seen = np.array(detections.labels, dtype=object)
    sure = detections.scores >= confidence
    for category in sorted(set(wanted.tolist())):
        rows, columns = np.flatnonzero(wanted == category), np.flatnonzero((seen == category) & sure)
        if not len(columns):
            continue
        worth = gain(targets[rows], detections.boxes[columns])
        for i, j in zip(*linear_sum_assignment(worth, maximize=True), strict=True):
            if worth[i, j] > 0:
                matched[rows[i]] = columns[j]
    return matched


def generalised_iou(a: Floats, b: Floats) -> Floats:
    """IoU less the empty share of the smallest box around both; (n, 4) and (m, 4) give (n, m) in [-1, 1]."""
    low, high = np.minimum(a[:, None, :2], b[None, :, :2]), np.maximum(a[:, None, 2:], b[None, :, 2:])
    hull = (high - low).prod(axis=-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=-1), (b[:, 2:] - b[:, :2]).prod(axis=-1)
    iou = box_iou(a, b)
    # inter = iou * union and union = area_a + area_b - inter, solved for the union.
    union = (area_a[:, None] + area_b[None, :]) / (1.0 + iou)
    empty: Floats = np.divide(hull - union, hull, out=np.zeros_like(hull), where=hull > 0)
    return iou - empty
