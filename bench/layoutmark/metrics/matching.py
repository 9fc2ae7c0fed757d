"""One-to-one assignment of detections to instances, within a category: no detection serves two targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from layoutmark.evidence import Detections
from layoutmark.layout import Layout, box_iou

MIN_CONFIDENCE = 0.25
"""Lowest confidence at which a detection counts, in all metrics that do not rank detections by confidence."""

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
PairGain = Callable[[Floats, Floats], Floats]
"""Gain of assigning each pair: boxes (n, 4) and (m, 4), normalised xyxy, give (n, m)."""


def matched_ious(layout: Layout, detections: Detections, confidence: float = MIN_CONFIDENCE) -> Floats:
    """IoU of each instance with the detection assigned to it, shape (n,), in [0, 1]; 0 without one.

    The assignment maximises the sum of IoUs within each category (Hungarian algorithm, Kuhn 1955).

    Args:
        layout: The layout, with n instances.
        detections: The detections.
        confidence: Lowest confidence of the detections that take part.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.25)})
    >>> matched_ious(image.sample.layout, image.detections)
    array([0.5])
    """
    assigned = assign(layout, detections, box_iou, confidence)
    ious = box_iou(layout.boxes(), detections.boxes)
    return np.array([ious[i, j] if j >= 0 else 0.0 for i, j in enumerate(assigned)], dtype=np.float64)


def match_hits(layout: Layout, detections: Detections, iou: float = 0.5, confidence: float = MIN_CONFIDENCE) -> Indices:
    """Index of the detection that hits each instance, shape (n,), or -1.

    As many instances as possible are hit; among such assignments, the sum of IoUs is maximised.

    Args:
        layout: The layout, with n instances.
        detections: The detections.
        iou: Lowest IoU that counts as a hit.
        confidence: Lowest confidence of the detections that take part.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.2)})
    >>> match_hits(image.sample.layout, image.detections)
    array([-1])
    """

    def gain(targets: Floats, boxes: Floats) -> Floats:
        overlap = box_iou(targets, boxes)
        # A hit outweighs the IoUs of a whole matching, so the number of hits comes first and the IoU second.
        return np.where(overlap >= iou, 1.0 + overlap / (min(overlap.shape) + 1), 0.0)

    return assign(layout, detections, gain, confidence)


def match_nearest(layout: Layout, detections: Detections, confidence: float = MIN_CONFIDENCE) -> Indices:
    """Index of the nearest detection of each instance's category, shape (n,), or -1 if none is left.

    The assignment maximises the sum of generalised IoUs (Rezatofighi et al., CVPR 2019), which also ranks boxes that do
    not touch; 2 is added so that any pair is better than none.

    Args:
        layout: The layout, with n instances.
        detections: The detections.
        confidence: Lowest confidence of the detections that take part.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.8, 0.8, 1.0, 1.0)})
    >>> match_nearest(image.sample.layout, image.detections)
    array([0])
    """
    return assign(layout, detections, lambda a, b: generalised_iou(a, b) + 2.0, confidence)


def assign(layout: Layout, detections: Detections, gain_fn: PairGain, confidence: float) -> Indices:
    """Index of the detection assigned to each instance, shape (n,), or -1; maximises the sum of gains.

    Args:
        layout: The layout, with n instances.
        detections: The detections; each can be assigned only to an instance of its category.
        gain_fn: Gain of assigning each pair; pairs without a positive gain are not assigned.
        confidence: Lowest confidence of the detections that take part.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"dog": (0.0, 0.0, 0.5, 0.5)})
    >>> assign(image.sample.layout, image.detections, box_iou, confidence=0.25)
    array([-1])
    """
    assigned = np.full(len(layout.instances), -1, dtype=np.intp)
    targets, categories = layout.boxes(), np.array([i.category for i in layout.instances], dtype=object)
    labels = np.array(detections.labels, dtype=object)
    is_confident = detections.scores >= confidence
    for category in sorted(set(categories.tolist())):
        rows, columns = np.flatnonzero(categories == category), np.flatnonzero((labels == category) & is_confident)
        if not len(columns):
            continue
        gain = gain_fn(targets[rows], detections.boxes[columns])
        for i, j in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[i, j] > 0:
                assigned[rows[i]] = columns[j]
    return assigned


def generalised_iou(a: Floats, b: Floats) -> Floats:
    """IoU minus the empty share of the smallest box around both.

    Args:
        a: Boxes, shape (n, 4), as two corners.
        b: Boxes, shape (m, 4), in the same coordinate frame.

    Returns shape (n, m), in [-1, 1].

    >>> generalised_iou(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[3.0, 0.0, 4.0, 1.0]]))
    array([[-0.5]])
    """
    low, high = np.minimum(a[:, None, :2], b[None, :, :2]), np.maximum(a[:, None, 2:], b[None, :, 2:])
    hull = (high - low).prod(axis=-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=-1), (b[:, 2:] - b[:, :2]).prod(axis=-1)
    iou = box_iou(a, b)
    # intersection = iou * union and union = area_a + area_b - intersection, solved for the union.
    union = (area_a[:, None] + area_b[None, :]) / (1.0 + iou)
    empty_share: Floats = np.divide(hull - union, hull, out=np.zeros_like(hull), where=hull > 0)
    return iou - empty_share
