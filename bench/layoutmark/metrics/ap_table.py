"""Average precision under resampling weights, without matching again.

A bootstrap computes AP thousands of times. Matching within an image does not depend on the other images, so `ap_table`
keeps the matches, and `ap_from_table` repeats only the accumulation, with each image counted as often as its weight
says: exactly what pycocotools gives for the set with images physically repeated. `resampled_ap` does the same for many
weights at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Evidence
from layoutmark.metrics.coco import RECALL_LEVELS, MatchedImages, match_images

Floats = npt.NDArray[np.float64]
MAX_BLOCK_ELEMENTS = 1 << 22
"""Limit on true positives times draws processed at once; it bounds memory to a few hundred megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class CategoryRows:
    """Detections of one category, best first, and the number of targets of the category in each image.

    `image_indices` (rows,) are positions in the evidence. `true_positive` (thresholds, rows) says which detections are
    true positives, and `in_area` (thresholds, rows) which count at all (all except those outside the area).
    `targets_per_image` has shape (images,). `tie_runs` (rows,) numbers the runs of detections with the same image and
    score, or is None if no image has tied scores. Rows after the last true positive are left out: they cannot change
    the precision-recall curve.
    """

    image_indices: npt.NDArray[np.intp]
    true_positive: npt.NDArray[np.bool_]
    in_area: npt.NDArray[np.bool_]
    targets_per_image: npt.NDArray[np.int64]
    tie_runs: npt.NDArray[np.intp] | None


@dataclass(frozen=True, slots=True, eq=False)
class ApTable:
    """Matched detections of a set of `images` images by category name, at the given IoU `thresholds`."""

    images: int
    thresholds: tuple[float, ...]
    categories: Mapping[str, CategoryRows]


def ap_table(evidence: Sequence[Evidence], thresholds: Sequence[float] = (0.5,)) -> ApTable:
    """Match the images at the given IoU thresholds, for `ap_from_table`. Images without pixels contribute no rows.

    >>> from layoutmark.metrics.examples import example_image
    >>> ap_table([example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)})]).categories["cat"].true_positive
    array([[ True]])
    """
    return build_ap_table(match_images(evidence, thresholds), len(evidence), thresholds)


def build_ap_table(matched: MatchedImages | None, images: int, thresholds: Sequence[float], area: int = 0) -> ApTable:
    """Build the table of one area out of a matching.

    Args:
        matched: The result of `match_images`.
        images: Number of images, including those without pixels.
        thresholds: The IoU thresholds of the matching.
        area: Index of one of the areas of the matching.

    >>> build_ap_table(None, 3, (0.5,))
    ApTable(images=3, thresholds=(0.5,), categories={})
    """
    categories: dict[str, CategoryRows] = {}
    if matched is not None:
        categories = {name: _category_rows(matched, k, area, images) for k, name in enumerate(matched.categories)}
    return ApTable(images, tuple(thresholds), categories)


def select_thresholds(table: ApTable, thresholds: slice) -> ApTable:
    """Restrict a table to some of its IoU thresholds.

    >>> select_thresholds(ApTable(3, (0.5, 0.75), {}), slice(1, 2)).thresholds
    (0.75,)
    """
    if thresholds == slice(None):
        return table
    categories = {
        name: replace(rows, true_positive=rows.true_positive[thresholds], in_area=rows.in_area[thresholds])
        for name, rows in table.categories.items()
    }
    return ApTable(table.images, table.thresholds[thresholds], categories)


def ap_from_table(table: ApTable, weights: npt.NDArray[np.integer]) -> float | None:
    """AP in [0, 1] of the set in which image i occurs weights[i] times; None if no image with a target occurs.

    Args:
        table: The matches.
        weights: Non-negative integers, shape (images,).

    Raises LayoutmarkError for another shape or a negative weight.

    >>> from layoutmark.metrics.examples import example_image
    >>> table = ap_table([example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)}), example_image(detections={})])
    >>> round(ap_from_table(table, np.array([1, 1])), 3), round(ap_from_table(table, np.array([3, 0])), 3)
    (0.505, 1.0)
    """
    if weights.shape != (table.images,) or (weights < 0).any():
        raise LayoutmarkError(
            "weights of AP",
            found=f"shape {weights.shape}, smallest {weights.min() if weights.size else 'none'}",
            expected=f"shape ({table.images},), 0 or more",
            do="Give one count per image.",
        )
    values: list[float] = []
    for rows in table.categories.values():
        positives = int(rows.targets_per_image @ weights)
        if positives:
            values.extend(_average_precisions(*_repeat_rows(rows, weights), positives))
    return float(np.mean(values)) if values else None


def resampled_ap(table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """`ap_from_table` for each row of `weights` (draws, images); NaN where no image with a target occurs.

    >>> from layoutmark.metrics.examples import example_image
    >>> table = ap_table([example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)}), example_image(detections={})])
    >>> resampled_ap(table, np.array([[1, 1], [3, 0], [0, 0]])).round(3)
    array([0.505, 1.   ,   nan])
    """
    sums, counts = np.zeros(len(weights)), np.zeros(len(weights))
    # Matrix products are fast in double precision, and integers stay exact. One column per draw.
    columns = np.ascontiguousarray(weights.T, dtype=np.float64)
    for rows in table.categories.values():
        positives = rows.targets_per_image @ columns
        defined_draws = np.flatnonzero(positives)
        if rows.tie_runs is None:
            defined_columns = columns if len(defined_draws) == len(weights) else columns[:, defined_draws]
            step = max(1, MAX_BLOCK_ELEMENTS // max(1, rows.true_positive.sum(axis=1).max(initial=1)))
            for start in range(0, len(defined_draws), step):
                block = defined_draws[start : start + step]
                block_columns = defined_columns[:, start : start + step]
                sums[block] += _summed_precisions(rows, block_columns, positives[block])
        else:
            for k in defined_draws:
                sums[k] += sum(_average_precisions(*_repeat_rows(rows, weights[k]), int(positives[k])))
        counts[defined_draws] += len(table.thresholds)
    with np.errstate(invalid="ignore"):
        return sums / counts


def resampled_ar(table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """AR for each row of `weights` (draws, images): the share of targets detected, averaged like AP; NaN as for AP.

    >>> from layoutmark.metrics.examples import example_image
    >>> table = ap_table([example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)}), example_image(detections={})])
    >>> resampled_ar(table, np.array([[1, 1], [3, 0], [0, 0]]))
    array([0.5, 1. , nan])
    """
    columns = weights.astype(np.float64)
    return _mean_recalls(table, lambda per_image: columns @ per_image, len(weights))


def ar_per_image(table: ApTable) -> npt.NDArray[np.float64]:
    """AR of each image alone, shape (images,); NaN for an image without targets.

    >>> from layoutmark.metrics.examples import example_image
    >>> ar_per_image(ap_table([example_image(detections={}), example_image({}, {})]))
    array([ 0., nan])
    """
    return _mean_recalls(table, lambda per_image: per_image, table.images)


def _mean_recalls(table: ApTable, sum_over_sets: Callable[[Floats], Floats], sets: int) -> Floats:
    """Mean recall of each of several sets of images; `sum_over_sets` turns numbers per image into sums per set."""
    sums, counts = np.zeros(sets), np.zeros(sets)
    for rows in table.categories.values():
        hits = rows.true_positive.sum(axis=0).astype(np.float64)
        hits_per_image: Floats = np.bincount(rows.image_indices, weights=hits, minlength=table.images).astype(
            np.float64
        )
        positives = sum_over_sets(rows.targets_per_image.astype(np.float64))
        is_defined = positives > 0
        sums[is_defined] += sum_over_sets(hits_per_image)[is_defined] / positives[is_defined]
        counts[is_defined] += len(table.thresholds)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts, dtype=np.float64)


def ap_per_image(table: ApTable) -> npt.NDArray[np.float64]:
    """AP of each image alone, as if it were the whole set, shape (images,); NaN for an image without targets.

    >>> from layoutmark.metrics.examples import example_image
    >>> ap_per_image(ap_table([example_image(detections={}), example_image({}, {})]))
    array([ 0., nan])
    """
    sums, counts = np.zeros(table.images), np.zeros(table.images)
    for rows in table.categories.values():
        for image in np.flatnonzero(rows.targets_per_image):
            of_image = rows.image_indices == image
            weights = np.ones(int(of_image.sum()), dtype=np.int64)
            precisions = _average_precisions(
                weights, rows.true_positive[:, of_image], rows.in_area[:, of_image], int(rows.targets_per_image[image])
            )
            sums[image] += sum(precisions)
            counts[image] += len(precisions)
    with np.errstate(invalid="ignore"):
        return sums / counts


def _summed_precisions(rows: CategoryRows, columns: Floats, positives: Floats) -> Floats:
    """Per draw, the sum of `_average_precisions` over thresholds; only true positives are visited.

    `columns` (images, draws) are weights, `positives` (draws,) the number of targets in each draw.
    """
    from scipy.sparse import csr_array

    sums = np.zeros(columns.shape[1])
    for true_positive, in_area in zip(rows.true_positive, rows.in_area, strict=True):
        hits = np.flatnonzero(true_positive)
        if not len(hits):
            continue
        cumulative_hits = np.cumsum(columns[rows.image_indices[hits]], axis=0)
        # For each image, the number of counted rows after one true positive and up to the next.
        counted = np.flatnonzero(in_area[: hits[-1] + 1])
        cells = np.searchsorted(hits, counted), rows.image_indices[counted]
        rows_between = csr_array((np.ones(len(counted)), cells), shape=(len(hits), len(columns)))
        precision = cumulative_hits / (np.cumsum(rows_between @ columns, axis=0) + np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        levels_reached = np.searchsorted(RECALL_LEVELS, cumulative_hits / positives, side="right")
        sums += (envelope * np.diff(levels_reached, axis=0, prepend=0)).sum(axis=0) / len(RECALL_LEVELS)
    return sums


def _average_precisions(
    weights: npt.NDArray[np.integer],
    true_positive: npt.NDArray[np.bool_],
    in_area: npt.NDArray[np.bool_],
    positives: int,
) -> list[float]:
    """Per threshold, the mean of 101 interpolated precisions: pycocotools' accumulation with a weight per detection."""
    cumulative_hits = np.cumsum(true_positive * weights, axis=1).astype(np.float64)
    precision = cumulative_hits / (np.cumsum(in_area * weights, axis=1).astype(np.float64) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    averages = []
    for recall, highest in zip(cumulative_hits / positives, envelope, strict=True):
        rows_at_levels = np.searchsorted(recall, RECALL_LEVELS, side="left")
        reached = rows_at_levels[: np.searchsorted(rows_at_levels, len(highest))]
        averages.append(float(highest[reached].sum() / len(RECALL_LEVELS)))
    return averages


def _repeat_rows(
    rows: CategoryRows, weights: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """A weight per row, `true_positive` and `in_area`, such that a weight stands for adjacent copies of its row.

    Copies of an image repeat its rows with the same score as a group (a b a b, not a a b b). This matters only where
    scores are tied within an image; there, the copies are written out, each with weight 1.
    """
    if rows.tie_runs is None:
        return weights[rows.image_indices], rows.true_positive, rows.in_area
    run_starts = np.flatnonzero(np.diff(rows.tie_runs, prepend=-1))
    run_lengths = np.diff(run_starts, append=len(rows.tie_runs))
    copies = np.repeat(np.arange(len(run_starts)), weights[rows.image_indices[run_starts]])
    copy_lengths = run_lengths[copies]
    offsets = run_starts[copies] - (np.cumsum(copy_lengths) - copy_lengths)
    indices = np.arange(copy_lengths.sum()) + np.repeat(offsets, copy_lengths)
    return np.ones(len(indices), dtype=np.int64), rows.true_positive[:, indices], rows.in_area[:, indices]


def _category_rows(matched: MatchedImages, category: int, area: int, images: int) -> CategoryRows:
    """The detections of a category in all images, best first; ties stay in the order of the images."""
    target_slice, detection_slice = matched.category_slices(category)
    matches = matched.area_matches[area]
    target_images = matched.evidence_positions[matched.targets.image[target_slice]]
    counted_images = target_images[matches.target_in_area[target_slice]]
    targets_per_image = np.bincount(counted_images, minlength=images).astype(np.int64)
    image_indices = matched.evidence_positions[matched.detections.image[detection_slice]]
    scores = matched.scores[detection_slice]
    in_area = ~matches.ignored[:, detection_slice]
    true_positive = matches.matched[:, detection_slice] & in_area
    best_first = np.argsort(-scores, kind="stable")
    best_first = best_first[np.asarray(in_area.any(axis=0))[best_first]]
    image_indices, scores = image_indices[best_first], scores[best_first]
    true_positive, in_area = true_positive[:, best_first], in_area[:, best_first]
    tie_runs = np.cumsum((np.diff(image_indices, prepend=-1) != 0) | (np.diff(scores, prepend=np.inf) != 0))
    # The run that holds the last true positive is kept whole: its false positives lie between its copies.
    row_count = np.searchsorted(tie_runs, tie_runs[true_positive.any(axis=0)].max(initial=0), side="right")
    image_indices, tie_runs = image_indices[:row_count], tie_runs[:row_count]
    true_positive, in_area = true_positive[:, :row_count], in_area[:, :row_count]
    has_ties = len(np.unique(tie_runs)) != row_count
    return CategoryRows(image_indices, true_positive, in_area, targets_per_image, tie_runs if has_ties else None)
