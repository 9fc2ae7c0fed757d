"""pycocotools on layouts and detections: the one implementation of matching and of average precision.

Boxes go in as pixels of the layout's canvas.  Annotation ids start at 1, because pycocotools reads id 0 as "not
matched"; its -1 for "nothing to average" becomes None.  Categories are numbered in the order of their sorted names;
those without a target in the set are not averaged.  Images are numbered by (sample id, seed), so the order in which
they are handed in does not matter even where scores are tied.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Evidence
from layoutmark.layout import Mask
from layoutmark.metrics.mean import without_pixels
from layoutmark.score import Unscored

CONFIDENCE = 0.001
MAX_DETECTIONS = 100
RECALLS = np.linspace(0.0, 1.0, 101)
EVERY_AREA = (0.0, 1e10)


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """A `COCOeval` after matching; its images are evidence positions in `order`, its categories have these names."""

    coco: Any
    order: list[int]
    categories: list[str]


def coco_ap(
    evidence: Sequence[Evidence], thresholds: Sequence[float], area: tuple[float, float] = EVERY_AREA
) -> float | None:
    """AP by pycocotools over the images with pixels, averaged over categories and thresholds; None without targets."""
    matched = match(evidence, thresholds, (area,))
    return None if matched is None else average(accumulated(matched)["precision"])


def accumulated(matched: Matched) -> Mapping[str, Any]:
    """Pycocotools' tables: ``precision`` (thresholds, recalls, categories, areas, 1), ``recall`` without recalls."""
    with contextlib.redirect_stdout(io.StringIO()):
        matched.coco.accumulate()
    found: Mapping[str, Any] = matched.coco.eval
    return found


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
    """Match by pycocotools; None when no image with pixels and detections has a target.

    Targets, and detections without a match, whose area in pixels of the canvas is outside an area do not count there.
    With `masks` overlap is that of masks, over the images that `without_masks` lets pass, and detections without a
    mask are left out.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    seen = [i for i, e in enumerate(evidence) if without_pixels(e) is None and e.detections is not None]
    if masks:
        seen = [i for i in seen if without_masks(evidence[i]) is None]
    order = sorted(seen, key=lambda i: (evidence[i].sample.id, evidence[i].seed))
    categories = sorted({t.category for i in order for t in evidence[i].sample.layout.instances})
    if not categories:
        return None
    ids = {name: k for k, name in enumerate(categories, start=1)}
    truth, found = COCO(), COCO()
    truth.dataset, found.dataset = _datasets([evidence[i] for i in order], ids, masks)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = quick_evaluation(COCOeval)(truth, found, "segm" if masks else "bbox")
        coco.params.imgIds = list(range(1, len(order) + 1))
        coco.params.catIds = list(ids.values())
        coco.params.iouThrs = np.array(thresholds)
        coco.params.recThrs = RECALLS
        coco.params.maxDets = [MAX_DETECTIONS]
        coco.params.areaRng, coco.params.areaRngLbl = [list(a) for a in areas], [str(a) for a in areas]
        coco.evaluate()
    return Matched(coco, order, categories)


@cache
def quick_evaluation(evaluation: Any) -> Any:
    """The `COCOeval` class, but quick where a class has no target in an image, which is most of the time.

    It takes parameters as `match` sets them (sorted ids, all images, classes told apart) and annotations as
    `_datasets` makes them (no crowds, run lengths for masks), and needs no index of them.
    """

    class Quick(evaluation):  # type: ignore[misc]
        def _prepare(self) -> None:
            self._gts, self._dts = self._grouped(self.cocoGt), self._grouped(self.cocoDt)

        def _grouped(self, side: Any) -> dict[tuple[int, int], list[dict[str, Any]]]:
            grouped: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
            for annotation in side.dataset["annotations"]:
                annotation["ignore"] = 0
                grouped[annotation["image_id"], annotation["category_id"]].append(annotation)
            return grouped

        def evaluate(self) -> None:
            self._prepare()
            both = self._gts.keys() & self._dts.keys()
            self.ious = defaultdict(list, {pair: self.computeIoU(*pair) for pair in both})
            params = self.params
            self.evalImgs = [
                self.evaluateImg(image, category, area, params.maxDets[-1])
                for category in params.catIds for area in params.areaRng for image in params.imgIds
            ]  # fmt: skip
            self._paramsEval = deepcopy(params)

        def evaluateImg(self, image: int, category: int, area: Any, most: int) -> Any:
            found = self._dts.get((image, category))
            if self._gts.get((image, category)):
                return super().evaluateImg(image, category, area, most)
            if not found:
                return None
            # No target: nothing can match, and what lies outside the area does not count.
            best = sorted(found, key=lambda d: -d["score"])[:most]
            outside = [d["area"] < area[0] or d["area"] > area[1] for d in best]
            rows = len(self.params.iouThrs)
            return {
                "image_id": image, "category_id": category, "aRng": area, "maxDet": most,
                "dtIds": [d["id"] for d in best], "gtIds": [], "dtScores": [d["score"] for d in best],
                "dtMatches": np.zeros((rows, len(best))), "gtMatches": np.zeros((rows, 0)),
                "gtIgnore": np.zeros(0), "dtIgnore": np.array([outside] * rows, dtype=bool),
            }  # fmt: skip

    return Quick


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


def _datasets(
    evidence: Sequence[Evidence], ids: Mapping[str, int], masks: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Targets and detections in COCO's form, detections of categories without a target left out: they cannot count."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, e in enumerate(evidence, start=1):
        canvas, detections = e.sample.layout.canvas, e.detections
        size = np.array([canvas.width, canvas.height] * 2)
        for target in e.sample.layout.instances:
            truth.append(
                _annotation(len(truth) + 1, image, ids[target.category], [float(c) for c in target.box.pixels(canvas)])
                | (_segmentation(target.mask) if masks else {})
            )
        if detections is None:
            continue
        if masks and (seen := next((m for m in detections.masks or () if m is not None), None)):
            for target in e.sample.layout.instances:
                check_grids(e, cast("Mask", target.mask), seen)
        held = detections.masks or [None] * len(detections)
        scores, corners = detections.scores.tolist(), (detections.boxes * size).tolist()
        for label, score, box, mask in zip(detections.labels, scores, corners, held, strict=True):
            if label in ids and score >= CONFIDENCE and not (masks and mask is None):
                annotation = _annotation(len(found) + 1, image, ids[label], box)
                annotation["score"] = score
                found.append(annotation | _segmentation(mask) if masks else annotation)
    canvases = [e.sample.layout.canvas for e in evidence]
    shared = {
        "images": [{"id": i, "width": c.width, "height": c.height} for i, c in enumerate(canvases, start=1)],
        "categories": [{"id": k, "name": name} for name, k in ids.items()],
    }
    return {**shared, "annotations": truth}, {**shared, "annotations": found}


def _segmentation(mask: Mask | None) -> dict[str, Any]:
    """A mask in COCO's form, with its area in pixels of its own grid."""
    assert mask is not None
    return {"segmentation": mask.rle(), "area": mask.area}


def _annotation(number: int, image: int, category: int, corners: Sequence[float]) -> dict[str, Any]:
    x0, y0, x1, y1 = corners
    width, height = x1 - x0, y1 - y0
    # A box with its corners swapped has a negative area, and pycocotools would leave it out; it is a wrong box.
    area = abs(width * height)
    box = [x0, y0, width, height]
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": 0}
