"""Average precision under resampling weights, without matching again.

A bootstrap needs AP a thousand times.  Matching inside an image does not depend on the other images, so `ap_table`
keeps what pycocotools matched, and `ap_from_table` repeats only its accumulation, each image counting as often as its
weight says: exactly what pycocotools gives for the set with images physically repeated.  `ap_draws` is the same for
many weights at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Evidence
from layoutmark.metrics.coco import RECALLS, match


@dataclass(frozen=True, slots=True, eq=False)
class CategoryRows:
    """What one category contributes: its detections best first, and how many targets each image has.

    `image` (rows,) is a position in the evidence, `hit` (thresholds, rows) says which detections are true positives,
    `targets` (images,) counts targets.  `runs` (rows,) numbers stretches of one image with one score, or is None when
    no score is tied inside an image.  Rows after the last hit are left out: they cannot change the curve.
    """

    image: npt.NDArray[np.intp]
    hit: npt.NDArray[np.bool_]
    targets: npt.NDArray[np.int64]
    runs: npt.NDArray[np.intp] | None


@dataclass(frozen=True, slots=True, eq=False)
class ApTable:
    """Matched detections of `images` pieces of evidence by category name, at the IoU `thresholds`."""

    images: int
    thresholds: tuple[float, ...]
    categories: Mapping[str, CategoryRows]


def ap_table(evidence: Sequence[Evidence], thresholds: Sequence[float] = (0.5,)) -> ApTable:
    """What pycocotools matched, ready for `ap_from_table`.  Images without pixels take part with no rows."""
    matched = match(evidence, thresholds)
    found: dict[str, CategoryRows] = {}
    if matched is not None:
        step = len(matched.order)
        for k, name in enumerate(matched.categories):
            matches = matched.coco.evalImgs[k * step : (k + 1) * step]
            found[name] = _rows(matches, matched.order, len(evidence), len(thresholds))
    return ApTable(len(evidence), tuple(thresholds), found)


def ap_from_table(table: ApTable, weights: npt.NDArray[np.integer]) -> float | None:
    """AP of the set in which image i appears weights[i] times; None if no image with a target appears.

    weights: shape (images,), whole numbers, 0 or more.  Raises LayoutmarkError for another shape or a negative weight.
    """
    if weights.shape != (table.images,) or (weights < 0).any():
        raise LayoutmarkError(
            "weights of AP",
            found=f"shape {weights.shape}, least {weights.min() if weights.size else 'none'}",
            expected=f"shape ({table.images},), 0 or more",
            do="Give one count per image.",
        )
    values: list[float] = []
    for rows in table.categories.values():
        positives = int(rows.targets @ weights)
        if positives:
            weight, hit = _repeated(rows, weights)
            values.extend(_average_precisions(hit, weight, positives))
    return float(np.mean(values)) if values else None


def ap_draws(table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """`ap_from_table` of every row of `weights` (draws, images); NaN where no image with a target appears."""
    total, counted = np.zeros(len(weights)), np.zeros(len(weights))
    for rows in table.categories.values():
        positives = weights @ rows.targets
        some = np.flatnonzero(positives)
        if rows.runs is None:
            total[some] += _many_precisions(rows, weights[some], positives[some])
        else:
            for k in some:
                weight, hit = _repeated(rows, weights[k])
                total[k] += sum(_average_precisions(hit, weight, int(positives[k])))
        counted[some] += len(table.thresholds)
    with np.errstate(invalid="ignore"):
        return total / counted


def _many_precisions(
    rows: CategoryRows, weights: npt.NDArray[np.integer], positives: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Sum over thresholds of `_average_precisions`, per draw.

    The curve turns only at true positives, so two matrices (hits, images) hold all that weights act on: how many
    detections and how many true positives of an image come no later than that hit.
    """
    found = np.zeros(len(weights))
    columns = weights.T.astype(np.float64)  # float products of small whole numbers are exact, and much faster
    for hit in rows.hit:
        at = np.flatnonzero(hit)
        if not len(at):
            continue
        true, seen = np.zeros((2, len(at), len(rows.targets)))
        true[np.arange(len(at)), rows.image[at]] = 1
        before = np.searchsorted(at, np.arange(at[-1] + 1), side="left")
        np.add.at(seen, (before, rows.image[: at[-1] + 1]), 1)
        positive = np.cumsum(true, axis=0) @ columns
        precision = positive / (np.cumsum(seen, axis=0) @ columns + np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        reached = np.searchsorted(RECALLS, positive / positives, side="right")
        found += (envelope * np.diff(reached, axis=0, prepend=0)).sum(axis=0) / len(RECALLS)
    return found


def _average_precisions(hit: npt.NDArray[np.bool_], weight: npt.NDArray[np.integer], positives: int) -> list[float]:
    """Per threshold the mean of 101 interpolated precisions: pycocotools' accumulation with a weight per detection."""
    true = np.cumsum(hit * weight, axis=1).astype(np.float64)
    precision = true / (np.cumsum(weight).astype(np.float64) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    found = []
    for recall, highest in zip(true / positives, envelope, strict=True):
        at = np.searchsorted(recall, RECALLS, side="left")
        found.append(float(highest[at[: np.searchsorted(at, len(highest))]].sum() / len(RECALLS)))
    return found


def _repeated(
    rows: CategoryRows, weights: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.bool_]]:
    """Weight per row and hits, such that a weight means adjacent copies of the row.

    Copies of an image repeat its rows of one score as a group (a b a b, not a a b b).  That differs only where scores
    are tied inside an image; there the copies are written out, each with weight 1.
    """
    if rows.runs is None:
        return weights[rows.image], rows.hit
    first = np.flatnonzero(np.diff(rows.runs, prepend=-1))
    length = np.diff(first, append=len(rows.runs))
    copies = np.repeat(np.arange(len(first)), weights[rows.image[first]])
    long = length[copies]
    index = np.arange(long.sum()) + np.repeat(first[copies] - (np.cumsum(long) - long), long)
    return np.ones(len(index), dtype=np.int64), rows.hit[:, index]


def _rows(
    matches: Sequence[Mapping[str, Any] | None], order: Sequence[int], count: int, thresholds: int
) -> CategoryRows:
    """Merge one category's matches of all images, best first, ties in the order of images."""
    targets = np.zeros(count, dtype=np.int64)
    image, score, hit = [np.empty(0, np.intp)], [np.empty(0)], [np.empty((thresholds, 0), np.bool_)]
    for position, found in zip(order, matches, strict=True):
        if found is not None:
            targets[position] = len(found["gtIds"])
            image.append(np.full(len(found["dtScores"]), position, dtype=np.intp))
            score.append(np.asarray(found["dtScores"], dtype=np.float64))
            hit.append(found["dtMatches"] > 0)
    scores, hits = np.concatenate(score), np.concatenate(hit, axis=1)
    best_first = np.argsort(-scores, kind="stable")
    images, scores, hits = np.concatenate(image)[best_first], scores[best_first], hits[:, best_first]
    runs = np.cumsum((np.diff(images, prepend=-1) != 0) | (np.diff(scores, prepend=np.inf) != 0))
    # A run that holds the last hit stays whole: its misses lie between its copies.
    kept = np.searchsorted(runs, runs[hits.any(axis=0)].max(initial=0), side="right")
    images, hits, runs = images[:kept], hits[:, :kept], runs[:kept]
    return CategoryRows(images, hits, targets, None if len(np.unique(runs)) == kept else runs)
