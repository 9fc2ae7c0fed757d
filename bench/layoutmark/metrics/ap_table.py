"""Average precision under resampling weights, without matching again.

A bootstrap needs AP a thousand times.  Matching inside an image does not depend on the other images, so `ap_table`
keeps what matched, and `ap_from_table` repeats only its accumulation, each image counting as often as its
weight says: exactly what pycocotools gives for the set with images physically repeated.  `ap_draws` is the same for
many weights at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Evidence
from layoutmark.metrics.coco import RECALLS, Matched, match

Floats = npt.NDArray[np.float64]
BLOCK = 1 << 22
"""Most hits times draws that are worked on at once; it bounds the memory to some hundred megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class CategoryRows:
    """What one category contributes: its detections best first, and how many targets each image has.

    `image` (rows,) is a position in the evidence, `hit` (thresholds, rows) says which detections are true positives,
    `counted` (thresholds, rows) which count at all (all but those outside the area), `targets` (images,) counts
    targets.  `runs` (rows,) numbers stretches of one image with one score, or is None when no score is tied inside an
    image.  Rows after the last hit are left out: they cannot change the curve.
    """

    image: npt.NDArray[np.intp]
    hit: npt.NDArray[np.bool_]
    counted: npt.NDArray[np.bool_]
    targets: npt.NDArray[np.int64]
    runs: npt.NDArray[np.intp] | None


@dataclass(frozen=True, slots=True, eq=False)
class ApTable:
    """Matched detections of `images` pieces of evidence by category name, at the IoU `thresholds`."""

    images: int
    thresholds: tuple[float, ...]
    categories: Mapping[str, CategoryRows]


def ap_table(evidence: Sequence[Evidence], thresholds: Sequence[float] = (0.5,)) -> ApTable:
    """What matched, ready for `ap_from_table`.  Images without pixels take part with no rows."""
    return tabulated(match(evidence, thresholds), len(evidence), thresholds)


def tabulated(matched: Matched | None, images: int, thresholds: Sequence[float], area: int = 0) -> ApTable:
    """The table of one of the areas that were matched, by its place in their list."""
    found: dict[str, CategoryRows] = {}
    if matched is not None:
        found = {name: _rows(matched, k, area, images) for k, name in enumerate(matched.categories)}
    return ApTable(images, tuple(thresholds), found)


def at_thresholds(table: ApTable, thresholds: slice) -> ApTable:
    """The same table at some of its thresholds."""
    if thresholds == slice(None):
        return table
    rows = {n: replace(r, hit=r.hit[thresholds], counted=r.counted[thresholds]) for n, r in table.categories.items()}
    return ApTable(table.images, table.thresholds[thresholds], rows)


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
            values.extend(_average_precisions(*_repeated(rows, weights), positives))
    return float(np.mean(values)) if values else None


def ap_draws(table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """`ap_from_table` of every row of `weights` (draws, images); NaN where no image with a target appears."""
    total, counted = np.zeros(len(weights)), np.zeros(len(weights))
    # In double precision products are quick, and whole numbers stay exact.  One column a draw.
    columns = np.ascontiguousarray(weights.T, dtype=np.float64)
    for rows in table.categories.values():
        positives = rows.targets @ columns
        some = np.flatnonzero(positives)
        if rows.runs is None:
            mine = columns if len(some) == len(weights) else columns[:, some]
            step = max(1, BLOCK // max(1, rows.hit.sum(axis=1).max(initial=1)))
            for at in range(0, len(some), step):
                part = some[at : at + step]
                total[part] += _many_precisions(rows, mine[:, at : at + step], positives[part])
        else:
            for k in some:
                total[k] += sum(_average_precisions(*_repeated(rows, weights[k]), int(positives[k])))
        counted[some] += len(table.thresholds)
    with np.errstate(invalid="ignore"):
        return total / counted


def ar_draws(table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """AR of every row of `weights` (draws, images): the share of targets found, averaged like AP; NaN like AP."""
    columns = weights.astype(np.float64)
    return _recalls(table, lambda per_image: columns @ per_image, len(weights))


def ar_alone(table: ApTable) -> npt.NDArray[np.float64]:
    """AR (images,) of each image by itself; NaN where it has no target."""
    return _recalls(table, lambda per_image: per_image, table.images)


def _recalls(table: ApTable, summed: Callable[[Floats], Floats], count: int) -> Floats:
    """Mean recall of `count` sets, each of which sums numbers of images in its own way."""
    total, counted = np.zeros(count), np.zeros(count)
    for rows in table.categories.values():
        hits = rows.hit.sum(axis=0).astype(np.float64)
        found: Floats = np.bincount(rows.image, weights=hits, minlength=table.images).astype(np.float64)
        positives = summed(rows.targets.astype(np.float64))
        some = positives > 0
        total[some] += summed(found)[some] / positives[some]
        counted[some] += len(table.thresholds)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / counted, dtype=np.float64)


def ap_alone(table: ApTable) -> npt.NDArray[np.float64]:
    """AP (images,) of each image by itself, as if it were the whole set; NaN where it has no target."""
    total, counted = np.zeros(table.images), np.zeros(table.images)
    for rows in table.categories.values():
        for image in np.flatnonzero(rows.targets):
            mine = rows.image == image
            weight = np.ones(int(mine.sum()), dtype=np.int64)
            found = _average_precisions(weight, rows.hit[:, mine], rows.counted[:, mine], int(rows.targets[image]))
            total[image] += sum(found)
            counted[image] += len(found)
    with np.errstate(invalid="ignore"):
        return total / counted


def _many_precisions(rows: CategoryRows, columns: Floats, positives: Floats) -> Floats:
    """Sum over thresholds of `_average_precisions`, per draw; the curve turns only at true positives.

    `columns` (images, draws) are weights, `positives` (draws,) how many targets a draw has.
    """
    from scipy.sparse import csr_array

    found = np.zeros(columns.shape[1])
    for hit, counted in zip(rows.hit, rows.counted, strict=True):
        at = np.flatnonzero(hit)
        if not len(at):
            continue
        positive = np.cumsum(columns[rows.image[at]], axis=0)
        # How many rows that count each image has after one hit and up to the next.
        before = np.flatnonzero(counted[: at[-1] + 1])
        places = np.searchsorted(at, before), rows.image[before]
        between = csr_array((np.ones(len(before)), places), shape=(len(at), len(columns)))
        precision = positive / (np.cumsum(between @ columns, axis=0) + np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        reached = np.searchsorted(RECALLS, positive / positives, side="right")
        found += (envelope * np.diff(reached, axis=0, prepend=0)).sum(axis=0) / len(RECALLS)
    return found


def _average_precisions(
    weight: npt.NDArray[np.integer], hit: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_], positives: int
) -> list[float]:
    """Per threshold the mean of 101 interpolated precisions: pycocotools' accumulation with a weight per detection."""
    true = np.cumsum(hit * weight, axis=1).astype(np.float64)
    precision = true / (np.cumsum(counted * weight, axis=1).astype(np.float64) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    found = []
    for recall, highest in zip(true / positives, envelope, strict=True):
        at = np.searchsorted(recall, RECALLS, side="left")
        found.append(float(highest[at[: np.searchsorted(at, len(highest))]].sum() / len(RECALLS)))
    return found


def _repeated(
    rows: CategoryRows, weights: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Weight per row, hits and counted rows, such that a weight means adjacent copies of the row.

    Copies of an image repeat its rows of one score as a group (a b a b, not a a b b).  That differs only where scores
    are tied inside an image; there the copies are written out, each with weight 1.
    """
    if rows.runs is None:
        return weights[rows.image], rows.hit, rows.counted
    first = np.flatnonzero(np.diff(rows.runs, prepend=-1))
    length = np.diff(first, append=len(rows.runs))
    copies = np.repeat(np.arange(len(first)), weights[rows.image[first]])
    long = length[copies]
    index = np.arange(long.sum()) + np.repeat(first[copies] - (np.cumsum(long) - long), long)
    return np.ones(len(index), dtype=np.int64), rows.hit[:, index], rows.counted[:, index]


def _rows(matched: Matched, category: int, area: int, count: int) -> CategoryRows:
    """One category's detections of all images, best first, ties in the order of images."""
    asked, seen = matched.of_category(category)
    found = matched.found[area]
    positions = matched.order[matched.targets.image[asked]]
    targets = np.bincount(positions[found.counts[asked]], minlength=count).astype(np.int64)
    images, scores = matched.order[matched.detections.image[seen]], matched.scores[seen]
    inside = ~found.aside[:, seen]
    hits = found.matched[:, seen] & inside
    best_first = np.argsort(-scores, kind="stable")
    best_first = best_first[np.asarray(inside.any(axis=0))[best_first]]
    images, scores = images[best_first], scores[best_first]
    hits, inside = hits[:, best_first], inside[:, best_first]
    runs = np.cumsum((np.diff(images, prepend=-1) != 0) | (np.diff(scores, prepend=np.inf) != 0))
    # A run that holds the last hit stays whole: its misses lie between its copies.
    kept = np.searchsorted(runs, runs[hits.any(axis=0)].max(initial=0), side="right")
    images, hits, inside, runs = images[:kept], hits[:, :kept], inside[:, :kept], runs[:kept]
    return CategoryRows(images, hits, inside, targets, None if len(np.unique(runs)) == kept else runs)
