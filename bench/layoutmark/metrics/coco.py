"""COCO's average precision of layouts and detections, with matches equal to those of pycocotools.

Boxes are compared in pixels of the layout's canvas. pycocotools' -1 for "nothing to average" becomes None. Categories
are numbered in the order of their sorted names; those without a target in the set are not averaged. Images are numbered
by (sample id, seed), so the order in which they are passed does not matter, even if scores are tied.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Mask
from layoutmark.metrics.aggregation import missing_pixels_reason
from layoutmark.metrics.coco_match import (
    AreaMatches,
    Floats,
    Indices,
    Objects,
    greedy_matches,
    rank_by_score,
    sort_by_category_and_image,
)
from layoutmark.score import Unscored

MIN_RANKED_CONFIDENCE = 0.001
"""Detections below this confidence are ignored even where detections are ranked by confidence."""
MAX_DETECTIONS = 100
"""Maximum number of detections per image and category, best first."""
RECALL_LEVELS = np.linspace(0.0, 1.0, 101)
ALL_AREAS = (0.0, 1e10)


@dataclass(frozen=True, slots=True, eq=False)
class MatchedImages:
    """The matching of a set of images.

    Image k of `targets` and `detections` is image `evidence_positions[k]` of the evidence; category k is
    `categories[k]`. Targets and detections are sorted by category; `scores` belong to the detections. `area_matches`
    has one entry per area.
    """

    evidence_positions: Indices
    categories: list[str]
    thresholds: tuple[float, ...]
    areas: tuple[tuple[float, float], ...]
    targets: Objects
    detections: Objects
    scores: Floats
    area_matches: list[AreaMatches]

    def category_slices(self, category: int) -> tuple[slice, slice]:
        """The slices of the targets and of the detections of a category."""
        ends = [category, category + 1]
        targets, detections = (np.searchsorted(t.category, ends).tolist() for t in (self.targets, self.detections))
        return slice(*targets), slice(*detections)


def coco_ap(
    evidence: Sequence[Evidence], thresholds: Sequence[float], area: tuple[float, float] = ALL_AREAS
) -> float | None:
    """AP in [0, 1] by pycocotools, averaged over categories and IoU thresholds; None without targets.

    Args:
        evidence: The images; those without pixels are left out.
        thresholds: IoU thresholds.
        area: Smallest and largest area of the targets that count, in pixels of the canvas.

    >>> from layoutmark.metrics.examples import example_image
    >>> round(coco_ap([example_image(detections={"cat": (0.0, 0.0, 0.5, 0.4)})], (0.5, 0.9)), 3)
    0.5
    """
    matched = match_images(evidence, thresholds, (area,))
    return None if matched is None else mean_of_defined(accumulate(matched)["precision"])


def accumulate(matched: MatchedImages) -> Mapping[str, Any]:
    """Pycocotools' tables of a matching.

    Returns ``precision``, shape (thresholds, recall levels, categories, areas, 1), and ``recall``, without the recall
    levels; -1 where there is nothing to average.

    >>> from layoutmark.metrics.examples import example_image
    >>> accumulate(match_images([example_image(detections={"cat": (0.0, 0.0, 0.5, 0.4)})], (0.5, 0.9)))["recall"].shape
    (2, 1, 1, 1)
    """
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCOeval(iouType="bbox")
        # Accumulation first concatenates the images of a category; they are passed already concatenated, as one image.
        coco.evalImgs = [
            _joined(matched, k, matches) for k in range(len(matched.categories)) for matches in matched.area_matches
        ]
        coco.params.imgIds, coco.params.catIds = [0], list(range(len(matched.categories)))
        coco.params.iouThrs, coco.params.recThrs = np.array(matched.thresholds), RECALL_LEVELS
        coco.params.areaRng = [list(a) for a in matched.areas]
        coco.params.maxDets = [len(matched.scores)]
        coco._paramsEval = coco.params
        coco.accumulate()
    tables: Mapping[str, Any] = coco.eval
    return tables


def _joined(matched: MatchedImages, category: int, matches: AreaMatches) -> dict[str, Any]:
    targets, detections = matched.category_slices(category)
    return {
        "dtScores": matched.scores[detections], "dtMatches": matches.matched[:, detections],
        "dtIgnore": matches.ignored[:, detections], "gtIgnore": ~matches.target_in_area[targets],
    }  # fmt: skip


def mean_of_defined(values: npt.NDArray[np.float64]) -> float | None:
    """Mean of the defined values (pycocotools writes -1 for an undefined one), or None if there are none.

    >>> mean_of_defined(np.array([0.25, -1.0, 0.75]))
    0.5
    """
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None


def match_images(
    evidence: Sequence[Evidence],
    thresholds: Sequence[float],
    areas: Sequence[tuple[float, float]] = (ALL_AREAS,),
    use_masks: bool = False,
) -> MatchedImages | None:
    """Match detections to targets as pycocotools does; None if no image with pixels and detections has a target.

    Targets whose area lies outside an area range do not count there, nor do unmatched detections outside it.

    Args:
        evidence: The images.
        thresholds: IoU thresholds.
        areas: Smallest and largest area, in pixels of the canvas, of each area range.
        use_masks: Whether IoU is computed between masks instead of boxes. Images with a `missing_masks_reason` and
            detections without a mask are then left out.

    >>> from layoutmark.metrics.examples import example_image
    >>> match_images([example_image(detections={"cat": (0.0, 0.0, 0.5, 0.4)})], (0.5, 0.9)).area_matches[0].matched
    array([[ True],
           [False]])
    """
    usable = [i for i, e in enumerate(evidence) if missing_pixels_reason(e) is None and e.detections is not None]
    if use_masks:
        usable = [i for i in usable if missing_masks_reason(evidence[i]) is None]
    order = sorted(usable, key=lambda i: (evidence[i].sample.id, evidence[i].seed))
    images = [evidence[i] for i in order]
    categories = sorted({t.category for e in images for t in e.sample.layout.instances})
    if not categories:
        return None
    number_by_name = {name: k for k, name in enumerate(categories)}
    targets = _collect_targets(images, number_by_name, use_masks)
    targets = targets.take(sort_by_category_and_image(targets))
    detections, scores = _collect_detections(images, number_by_name, use_masks)
    best = rank_by_score(detections, scores, MAX_DETECTIONS)
    detections = detections.take(best)
    area_matches = greedy_matches(targets, detections, thresholds, areas)
    positions = np.array(order, dtype=np.intp)
    return MatchedImages(
        positions, categories, tuple(thresholds), tuple(areas), targets, detections, scores[best], area_matches
    )


def missing_masks_reason(evidence: Evidence) -> Unscored | None:
    """Why the masks of an image cannot be matched, or None: no masks were stored, or a target has none.

    >>> from layoutmark.metrics.examples import example_image
    >>> missing_masks_reason(example_image(detections={}))
    Unscored(reason='no masks stored')
    """
    if evidence.detections is not None and evidence.detections.masks is None:
        return Unscored("no masks stored")
    return Unscored("no mask asked for") if any(i.mask is None for i in evidence.sample.layout.instances) else None


def check_same_grid(evidence: Evidence, target_mask: Mask, detected_mask: Mask) -> None:
    """Raise LayoutmarkError when two masks of an image are on grids of different size.

    >>> from layoutmark.metrics.examples import example_image, example_mask
    >>> check_same_grid(example_image(), example_mask(0, 0, 32, 32), example_mask(0, 0, 8, 8))
    """
    if (target_mask.height, target_mask.width) != (detected_mask.height, detected_mask.width):
        raise LayoutmarkError(
            f"masks of sample {evidence.sample.id!r}",
            found=f"{detected_mask.height} x {detected_mask.width} detected, "
            f"{target_mask.height} x {target_mask.width} asked for",
            expected="one grid",
            do="Store detected masks on the grid of the layout's canvas.",
        )


def _collect_targets(evidence: Sequence[Evidence], number_by_category: Mapping[str, int], use_masks: bool) -> Objects:
    """All targets, in the order of the images."""
    targets = [(k, e.sample.layout.canvas, t) for k, e in enumerate(evidence) for t in e.sample.layout.instances]
    corners = np.array([t.box.to_pixels(canvas) for _, canvas, t in targets], dtype=np.float64)
    categories = np.array([number_by_category[t.category] for *_, t in targets], dtype=np.intp)
    masks = [cast("Mask", t.mask) for *_, t in targets] if use_masks else None
    return _objects(np.array([k for k, *_ in targets], dtype=np.intp), categories, corners, masks)


def _collect_detections(
    evidence: Sequence[Evidence], number_by_category: Mapping[str, int], use_masks: bool
) -> tuple[Objects, Floats]:
    """All detections, in the order of the images, and their scores.

    Detections of categories without a target are left out: they cannot count.
    """
    per_image = [cast("Detections", e.detections) for e in evidence]
    image_indices = np.repeat(np.arange(len(per_image)), [len(d) for d in per_image])
    categories = np.array([number_by_category.get(label, -1) for d in per_image for label in d.labels], dtype=np.intp)
    sizes = np.array([[e.sample.layout.canvas.width, e.sample.layout.canvas.height] * 2 for e in evidence])
    corners = np.concatenate([d.boxes for d in per_image], dtype=np.float64) * sizes[image_indices]
    scores = np.concatenate([d.scores for d in per_image], dtype=np.float64)
    is_used = (categories >= 0) & (scores >= MIN_RANKED_CONFIDENCE)
    used_masks = None
    if use_masks:
        for e, d in zip(evidence, per_image, strict=True):
            _check_grids(e, d)
        masks = [mask for d in per_image for mask in d.masks or [None] * len(d)]
        is_used &= np.array([mask is not None for mask in masks], dtype=bool)
        used_masks = [cast("Mask", masks[k]) for k in np.flatnonzero(is_used)]
    return _objects(image_indices[is_used], categories[is_used], corners[is_used], used_masks), scores[is_used]


def _check_grids(evidence: Evidence, detections: Detections) -> None:
    first_mask = next((m for m in detections.masks or () if m is not None), None)
    if first_mask is not None:
        for target in evidence.sample.layout.instances:
            check_same_grid(evidence, cast("Mask", target.mask), first_mask)


def _objects(image: Indices, category: Indices, corners: Floats, masks: Sequence[Mask] | None) -> Objects:
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    if masks is None:
        # A box with swapped corners would have a negative area, and pycocotools would drop it; it is a wrong detection.
        return Objects(image, category, boxes, np.abs(boxes[:, 2] * boxes[:, 3]))
    # Areas are in pixels of the masks' own grid.
    areas = np.array([m.area for m in masks], dtype=np.float64)
    return Objects(image, category, boxes, areas, [m.to_rle() for m in masks])
