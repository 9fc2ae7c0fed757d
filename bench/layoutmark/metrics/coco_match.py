"""Greedy matching of detections to targets as pycocotools does it, for all images and categories at once.

pycocotools walks through every image, category, threshold, detection and target in Python.  Most of these pairs
overlap too little for any threshold, so here overlaps are computed in one go and only the few pairs that can match are
walked through.  The result is equal to pycocotools', not only close (`tests/metrics/test_coco_match.py`); targets that
stand for a crowd do not occur.
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
Places = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
ALMOST_ONE = 1 - 1e-10
"""What pycocotools takes for a threshold of 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Things:
    """Targets or detections of many images, n in all.

    `image` and `category` (n,) count from 0, `boxes` (n, 4) are x, y, width, height in pixels of the canvas, `areas`
    (n,) are in pixels; `masks` (n), in COCO's form, where overlap is that of masks.
    """

    image: Places
    category: Places
    boxes: Floats
    areas: Floats
    masks: Sequence[Mapping[str, Any]] | None = None

    def at(self, places: Places) -> Things:
        """Those at some places, in that order."""
        masks = None if self.masks is None else [self.masks[k] for k in places]
        return Things(self.image[places], self.category[places], self.boxes[places], self.areas[places], masks)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Matches within one area: per threshold and detection whether it is `matched` and whether it is put `aside`.

    Both have shape (thresholds, detections).  `counts` (targets,) says which targets lie within the area.
    """

    matched: Flags
    aside: Flags
    counts: Flags


def grouped(things: Things) -> Places:
    """Places by category, image and place."""
    return np.lexsort((things.image, things.category))


def ranked(things: Things, scores: Floats, most: int) -> Places:
    """Places by category, image, score (best first) and place; the best `most` of each image and category."""
    order = np.lexsort((-scores, things.image, things.category))
    keys = np.stack([things.category[order], things.image[order]])
    first = np.flatnonzero((np.diff(keys, axis=1, prepend=-1) != 0).any(axis=0))
    rank = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    return order[rank < most]


def greedy_matches(
    targets: Things, detections: Things, thresholds: Sequence[float], areas: Sequence[tuple[float, float]]
) -> list[Found]:
    """Matches per area, as `COCOeval.evaluateImg` makes them.

    `targets` are `grouped`, `detections` `ranked`.  A detection, best first, takes the free target of its image and
    category with the greatest IoU of at least the threshold, the last where they are equal, and one outside the area
    only where no other will do.  It is put aside then, as are detections outside the area that take none.
    """
    images = 1 + max(targets.image.max(initial=0), detections.image.max(initial=0))
    held, own = (t.category * images + t.image for t in (targets, detections))
    first = np.searchsorted(held, own, "left")
    count = np.searchsorted(held, own, "right") - first
    # All pairs of one image and category: detections one after another, each with its targets in order.
    d = np.repeat(np.arange(len(own)), count)
    g = np.arange(len(d)) - np.repeat(np.cumsum(count) - count - first, count)
    iou = (_box_overlaps if targets.masks is None else _mask_overlaps)(targets, detections, d, g)
    least = [min(t, ALMOST_ONE) for t in thresholds]
    near = iou >= min(least)
    d, g, iou = d[near], g[near], iou[near]
    return [_within(area, targets, detections, (d, g, iou), least) for area in areas]


def _within(
    area: tuple[float, float], targets: Things, detections: Things, near: tuple[Places, Places, Floats],
    thresholds: Sequence[float],
) -> Found:  # fmt: skip
    d, g, iou = near
    outside = (targets.areas < area[0]) | (targets.areas > area[1])
    lost = (detections.areas < area[0]) | (detections.areas > area[1])
    order = np.lexsort((g, outside[g], d))
    pairs = list(zip(d[order].tolist(), g[order].tolist(), iou[order].tolist(), strict=True))
    matched = np.zeros((len(thresholds), len(lost)), dtype=bool)
    aside = np.repeat(lost[None], len(thresholds), axis=0)
    ignored = outside.tolist()
    for row, threshold in enumerate(thresholds):
        taken = _taken(pairs, ignored, threshold)
        at = np.fromiter(taken, dtype=np.intp)
        matched[row, at] = True
        aside[row, at] = outside[np.fromiter(taken.values(), dtype=np.intp)]
    return Found(matched, aside, ~outside)


def _taken(pairs: Sequence[tuple[int, int, float]], ignored: Sequence[bool], threshold: float) -> dict[int, int]:
    """The target that each matched detection takes."""
    taken: dict[int, int] = {}
    gone: set[int] = set()
    for detection, group in groupby(pairs, itemgetter(0)):
        best, least = -1, threshold
        for _, target, iou in group:
            if target in gone:
                continue
            if best >= 0 and ignored[target] and not ignored[best]:
                break
            if iou >= least:
                best, least = target, iou
        if best >= 0:
            taken[detection] = best
            gone.add(best)
    return taken


def _box_overlaps(targets: Things, detections: Things, d: Places, g: Places) -> Floats:
    """IoU of pairs, step by step as pycocotools' C code computes it, so that equality holds to the last bit."""
    a, b = detections.boxes[d], targets.boxes[g]
    size = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = size[:, 0] * size[:, 1]
    either = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - both
    touch = (size[:, 0] > 0) & (size[:, 1] > 0)
    iou = np.zeros(len(d))
    np.divide(both, either, out=iou, where=touch)
    return iou


def _mask_overlaps(targets: Things, detections: Things, d: Places, g: Places) -> Floats:
    """IoU of pairs by pycocotools, one table for each image and category."""
    from pycocotools import mask as coco

    assert targets.masks is not None
    assert detections.masks is not None
    found = [np.empty(0)]
    first = np.flatnonzero(np.diff(targets.category[g], prepend=-1) | np.diff(targets.image[g], prepend=-1))
    for pairs in np.split(np.arange(len(d)), first[1:]):
        rows, columns = np.unique(d[pairs]), np.unique(g[pairs])
        table = coco.iou([detections.masks[k] for k in rows], [targets.masks[k] for k in columns], [0] * len(columns))
        found.append(np.asarray(table, dtype=np.float64).ravel())
    return np.concatenate(found)
