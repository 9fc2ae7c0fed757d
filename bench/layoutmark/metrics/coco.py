"""COCO's average precision of layouts and detections: matches equal to pycocotools', which then averages them.

Boxes are compared as pixels of the layout's canvas.  pycocotools' -1 for "nothing to average" becomes None.  Categories
are numbered in the order of their sorted names; those without a target in the set are not averaged.  Images are
numbered by (sample id, seed), so the order in which they are handed in does not matter even where scores are tied.
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
from layoutmark.metrics.aggregation import without_pixels
from layoutmark.metrics.coco_match import Floats, Found, Places, Things, greedy_matches, grouped, ranked
from layoutmark.score import Unscored

CONFIDENCE = 0.001
MAX_DETECTIONS = 100
RECALLS = np.linspace(0.0, 1.0, 101)
EVERY_AREA = (0.0, 1e10)


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Matches of a set of images; these are evidence positions in `order`, and categories have these names.

    `targets` and `detections` stand by category, `scores` belong to the latter; `found` has what matched in each area.
    """

    order: Places
    categories: list[str]
    thresholds: tuple[float, ...]
    areas: tuple[tuple[float, float], ...]
    targets: Things
    detections: Things
    scores: Floats
    found: list[Found]

    def of_category(self, category: int) -> tuple[slice, slice]:
        """Where its targets and its detections are."""
        ends = [category, category + 1]
        targets, detections = (np.searchsorted(t.category, ends).tolist() for t in (self.targets, self.detections))
        return slice(*targets), slice(*detections)


def coco_ap(
    evidence: Sequence[Evidence], thresholds: Sequence[float], area: tuple[float, float] = EVERY_AREA
) -> float | None:
    """AP by pycocotools over the images with pixels, averaged over categories and thresholds; None without targets."""
    matched = match(evidence, thresholds, (area,))
    return None if matched is None else average(accumulated(matched)["precision"])


def accumulated(matched: Matched) -> Mapping[str, Any]:
    """Pycocotools' tables: ``precision`` (thresholds, recalls, categories, areas, 1), ``recall`` without recalls."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCOeval(iouType="bbox")
        # Accumulation joins the images of a category first; they are handed over joined, as one image.
        coco.evalImgs = [_joined(matched, k, found) for k in range(len(matched.categories)) for found in matched.found]
        coco.params.imgIds, coco.params.catIds = [0], list(range(len(matched.categories)))
        coco.params.iouThrs, coco.params.recThrs = np.array(matched.thresholds), RECALLS
        coco.params.areaRng = [list(a) for a in matched.areas]
        coco.params.maxDets = [len(matched.scores)]
        coco._paramsEval = coco.params
        coco.accumulate()
    found: Mapping[str, Any] = coco.eval
    return found


def _joined(matched: Matched, category: int, found: Found) -> dict[str, Any]:
    targets, detections = matched.of_category(category)
    return {
        "dtScores": matched.scores[detections], "dtMatches": found.matched[:, detections],
        "dtIgnore": found.aside[:, detections], "gtIgnore": ~found.counts[targets],
    }  # fmt: skip


def average(values: npt.NDArray[np.float64]) -> float | None:
    """Mean of what is defined (pycocotools writes -1 where it is not), or None if nothing is."""
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else None


def match(
    evidence: Sequence[Evidence],
    thresholds: Sequence[float],
    areas: Sequence[tuple[float, float]] = (EVERY_AREA,),
    masks: bool = False,
) -> Matched | None:
    """Match as pycocotools does; None when no image with pixels and detections has a target.

    Targets, and detections without a match, whose area in pixels of the canvas is outside an area do not count there.
    With `masks` overlap is that of masks, over the images that `without_masks` lets pass, and detections without a
    mask are left out.
    """
    seen = [i for i, e in enumerate(evidence) if without_pixels(e) is None and e.detections is not None]
    if masks:
        seen = [i for i in seen if without_masks(evidence[i]) is None]
    order = sorted(seen, key=lambda i: (evidence[i].sample.id, evidence[i].seed))
    chosen = [evidence[i] for i in order]
    categories = sorted({t.category for e in chosen for t in e.sample.layout.instances})
    if not categories:
        return None
    ids = {name: k for k, name in enumerate(categories)}
    targets = _targets(chosen, ids, masks)
    targets = targets.at(grouped(targets))
    detections, scores = _detections(chosen, ids, masks)
    best = ranked(detections, scores, MAX_DETECTIONS)
    detections = detections.at(best)
    found = greedy_matches(targets, detections, thresholds, areas)
    places = np.array(order, dtype=np.intp)
    return Matched(places, categories, tuple(thresholds), tuple(areas), targets, detections, scores[best], found)


def without_masks(evidence: Evidence) -> Unscored | None:
    """Why masks of an image cannot be matched, or None: not looked for, or a target that has none."""
    if evidence.detections is not None and evidence.detections.masks is None:
        return Unscored("no masks stored")
    return Unscored("no mask asked for") if any(i.mask is None for i in evidence.sample.layout.instances) else None


def check_grids(evidence: Evidence, wanted: Mask, found: Mask) -> None:
    """Raise LayoutmarkError when two masks are on grids of different size."""
    if (wanted.height, wanted.width) != (found.height, found.width):
        raise LayoutmarkError(
            f"masks of sample {evidence.sample.id!r}",
            found=f"{found.height} x {found.width} detected, {wanted.height} x {wanted.width} asked for",
            expected="one grid",
            do="Store detected masks on the grid of the layout's canvas.",
        )


def _targets(evidence: Sequence[Evidence], ids: Mapping[str, int], masks: bool) -> Things:
    """All targets, in order."""
    asked = [(k, e.sample.layout.canvas, t) for k, e in enumerate(evidence) for t in e.sample.layout.instances]
    corners = np.array([t.box.pixels(canvas) for _, canvas, t in asked], dtype=np.float64)
    category = np.array([ids[t.category] for *_, t in asked], dtype=np.intp)
    held = [cast("Mask", t.mask) for *_, t in asked] if masks else None
    return _things(np.array([k for k, *_ in asked], dtype=np.intp), category, corners, held)


def _detections(evidence: Sequence[Evidence], ids: Mapping[str, int], masks: bool) -> tuple[Things, Floats]:
    """Detections, in order, with their scores; without those of categories without a target, which cannot count."""
    seen = [cast("Detections", e.detections) for e in evidence]
    image = np.repeat(np.arange(len(seen)), [len(d) for d in seen])
    category = np.array([ids.get(label, -1) for d in seen for label in d.labels], dtype=np.intp)
    sizes = np.array([[e.sample.layout.canvas.width, e.sample.layout.canvas.height] * 2 for e in evidence])
    corners = np.concatenate([d.boxes for d in seen], dtype=np.float64) * sizes[image]
    scores = np.concatenate([d.scores for d in seen], dtype=np.float64)
    kept = (category >= 0) & (scores >= CONFIDENCE)
    held = None
    if masks:
        for e, d in zip(evidence, seen, strict=True):
            if found := next((m for m in d.masks or () if m is not None), None):
                for target in e.sample.layout.instances:
                    check_grids(e, cast("Mask", target.mask), found)
        every = [mask for d in seen for mask in d.masks or [None] * len(d)]
        kept &= np.array([mask is not None for mask in every], dtype=bool)
        held = [cast("Mask", every[k]) for k in np.flatnonzero(kept)]
    return _things(image[kept], category[kept], corners[kept], held), scores[kept]


def _things(image: Places, category: Places, corners: Floats, masks: Sequence[Mask] | None) -> Things:
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    if masks is None:
        # A box with its corners swapped has a negative area, and pycocotools would leave it out; it is a wrong box.
        return Things(image, category, boxes, np.abs(boxes[:, 2] * boxes[:, 3]))
    # Areas are in pixels of the masks' own grid.
    areas = np.array([m.area for m in masks], dtype=np.float64)
    return Things(image, category, boxes, areas, [m.rle() for m in masks])
