"""Greedy matching of detections to targets as in pycocotools, for all images and categories at once.

pycocotools loops over images, categories, thresholds, detections and targets in Python. Most of these pairs overlap too
little for any threshold, so here all IoUs are computed at once and only the few pairs that can match are visited. The
result is equal to that of pycocotools, not merely close (`tests/metrics/test_coco_match.py`). Crowd targets are not
supported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
MAX_IOU_THRESHOLD = 1 - 1e-10
"""pycocotools lowers higher thresholds to this value."""


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Targets or detections of many images, n in total.

    `image` and `category` (n,) count from 0; `boxes` (n, 4) are x, y, width, height in pixels of the canvas; `areas`
    (n,) are in pixels. `masks` (n), in COCO's form, are given only if IoU is computed between masks.
    """

    image: Indices
    category: Indices
    boxes: Floats
    areas: Floats
    masks: Sequence[Mapping[str, Any]] | None = None

    def take(self, indices: Indices) -> Objects:
        """The objects at these indices, in that order."""
        masks = None if self.masks is None else [self.masks[k] for k in indices]
        return Objects(self.image[indices], self.category[indices], self.boxes[indices], self.areas[indices], masks)


@dataclass(frozen=True, slots=True, eq=False)
class AreaMatches:
    """The matches within one area range.

    `matched` and `ignored`, shape (thresholds, detections), say of each detection whether it is matched and whether it
    counts neither as true nor as false positive. `target_in_area` (targets,) says which targets lie within the range.
    """

    matched: Flags
    ignored: Flags
    target_in_area: Flags


def sort_by_category_and_image(objects: Objects) -> Indices:
    """Indices (n,) that sort the objects by category, then image; otherwise the order stays.

    >>> boxes = np.zeros((3, 4))
    >>> sort_by_category_and_image(Objects(np.array([0, 1, 0]), np.array([1, 0, 0]), boxes, np.zeros(3)))
    array([2, 1, 0])
    """
    return np.lexsort((objects.image, objects.category))


def rank_by_score(objects: Objects, scores: Floats, max_per_image: int) -> Indices:
    """Indices that sort by category, image and score, best first, keeping the best few of each category and image.

    Args:
        objects: n detections.
        scores: Their scores, shape (n,); ties keep their order.
        max_per_image: Number of detections to keep per category and image.

    >>> detections = Objects(np.array([0, 0, 1]), np.array([0, 0, 0]), np.zeros((3, 4)), np.zeros(3))
    >>> rank_by_score(detections, np.array([0.3, 0.9, 0.5]), max_per_image=1)
    array([1, 2])
    """
    order = np.lexsort((-scores, objects.image, objects.category))
    keys = np.stack([objects.category[order], objects.image[order]])
    group_starts = np.flatnonzero((np.diff(keys, axis=1, prepend=-1) != 0).any(axis=0))
    ranks = np.arange(len(order)) - np.repeat(group_starts, np.diff(group_starts, append=len(order)))
    return order[ranks < max_per_image]


def greedy_matches(
    targets: Objects, detections: Objects, thresholds: Sequence[float], areas: Sequence[tuple[float, float]]
) -> list[AreaMatches]:
    """Matches per area range, as `COCOeval.evaluateImg` computes them.

    Each detection, best first, takes the free target of its image and category with the largest IoU at or above the
    threshold (the last one if IoUs are equal), and a target outside the area range only if no other qualifies. It is
    then ignored, as are unmatched detections whose own area lies outside the range.

    Args:
        targets: Sorted by `sort_by_category_and_image`.
        detections: Sorted by `rank_by_score`.
        thresholds: IoU thresholds.
        areas: Smallest and largest area, in pixels, of each range.

    >>> target = Objects(np.array([0]), np.array([0]), np.array([[0.0, 0.0, 4.0, 4.0]]), np.array([16.0]))
    >>> greedy_matches(target, target, [0.5], [(0.0, 1e10)])[0].matched
    array([[ True]])
    """
    images = 1 + max(targets.image.max(initial=0), detections.image.max(initial=0))
    target_keys, detection_keys = (objects.category * images + objects.image for objects in (targets, detections))
    first_target = np.searchsorted(target_keys, detection_keys, "left")
    target_counts = np.searchsorted(target_keys, detection_keys, "right") - first_target
    # All pairs within an image and category: detections in order, each with its targets in order.
    d = np.repeat(np.arange(len(detection_keys)), target_counts)
    t = np.arange(len(d)) - np.repeat(np.cumsum(target_counts) - target_counts - first_target, target_counts)
    iou = (_box_ious if targets.masks is None else _mask_ious)(targets, detections, d, t)
    capped_thresholds = [min(threshold, MAX_IOU_THRESHOLD) for threshold in thresholds]
    can_match = iou >= min(capped_thresholds)
    pairs = d[can_match], t[can_match], iou[can_match]
    return [_match_within(area, targets, detections, pairs, capped_thresholds) for area in areas]


def _match_within(
    area: tuple[float, float], targets: Objects, detections: Objects, pairs: tuple[Indices, Indices, Floats],
    thresholds: Sequence[float],
) -> AreaMatches:  # fmt: skip
    d, t, iou = pairs
    target_outside = (targets.areas < area[0]) | (targets.areas > area[1])
    detection_outside = (detections.areas < area[0]) | (detections.areas > area[1])
    order = np.lexsort((t, target_outside[t], d))
    ordered_pairs = list(zip(d[order].tolist(), t[order].tolist(), iou[order].tolist(), strict=True))
    matched = np.zeros((len(thresholds), len(detection_outside)), dtype=bool)
    ignored = np.repeat(detection_outside[None], len(thresholds), axis=0)
    is_outside = target_outside.tolist()
    for row, threshold in enumerate(thresholds):
        target_of = _match_greedily(ordered_pairs, is_outside, threshold)
        matched_detections = np.fromiter(target_of, dtype=np.intp)
        matched[row, matched_detections] = True
        ignored[row, matched_detections] = target_outside[np.fromiter(target_of.values(), dtype=np.intp)]
    return AreaMatches(matched, ignored, ~target_outside)


def _match_greedily(
    pairs: Sequence[tuple[int, int, float]], is_outside: Sequence[bool], threshold: float
) -> dict[int, int]:
    """The target of each matched detection, from (detection, target, IoU) triples."""
    target_of: dict[int, int] = {}
    taken: set[int] = set()
    for detection, candidates in groupby(pairs, itemgetter(0)):
        best, best_iou = -1, threshold
        for _, target, iou in candidates:
            if target in taken:
                continue
            if best >= 0 and is_outside[target] and not is_outside[best]:
                break
            if iou >= best_iou:
                best, best_iou = target, iou
        if best >= 0:
            target_of[detection] = best
            taken.add(best)
    return target_of


def _box_ious(targets: Objects, detections: Objects, d: Indices, t: Indices) -> Floats:
    """IoU of pairs, in the same steps as pycocotools' C code, so that the results are equal to the last bit."""
    a, b = detections.boxes[d], targets.boxes[t]
    size = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    intersection = size[:, 0] * size[:, 1]
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - intersection
    do_overlap = (size[:, 0] > 0) & (size[:, 1] > 0)
    iou = np.zeros(len(d))
    np.divide(intersection, union, out=iou, where=do_overlap)
    return iou


def _mask_ious(targets: Objects, detections: Objects, d: Indices, t: Indices) -> Floats:
    """IoU of pairs by pycocotools, one matrix per image and category."""
    from pycocotools import mask as coco

    assert targets.masks is not None
    assert detections.masks is not None
    blocks = [np.empty(0)]
    starts = np.flatnonzero(np.diff(targets.category[t], prepend=-1) | np.diff(targets.image[t], prepend=-1))
    for pairs in np.split(np.arange(len(d)), starts[1:]):
        rows, columns = np.unique(d[pairs]), np.unique(t[pairs])
        iou = coco.iou([detections.masks[k] for k in rows], [targets.masks[k] for k in columns], [0] * len(columns))
        blocks.append(np.asarray(iou, dtype=np.float64).ravel())
    return np.concatenate(blocks)
