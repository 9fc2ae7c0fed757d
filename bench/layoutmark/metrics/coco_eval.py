"""The figures of a pair of COCO files: the twelve that pycocotools prints, per category, mean IoU, IoU matrices."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from layoutmark.metrics.coco import average
from layoutmark.metrics.coco_files import CocoPair, IouType
from layoutmark.metrics.matching import CONFIDENCE

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve, in the order in which pycocotools gives them; values in [0, 1]."""
ALL_AREAS, MOST = 0, -1
"""Indices into pycocotools' tables: every size, and the greatest number of detections an image and category (100)."""


def evaluate(pair: CocoPair, *, confidence: float = CONFIDENCE, matrices: bool = False) -> dict[str, Any]:
    """All figures as plain data; None stands where there is nothing to average.

    `miou` is over all targets that are no crowds: each has the IoU of the detection assigned to it, or 0.  Assigned
    one to one within image and category, to the greatest sum (Hungarian), among detections of at least `confidence`.
    """
    coco = _run(pair)
    figures = {name: _value(v) for name, v in zip(FIGURES, coco.stats, strict=True)}
    targets, detections = _grouped(pair.truth), _grouped(pair.found)
    overlap = _mean_overlap(pair, targets, detections, confidence)
    found: dict[str, Any] = {
        **figures,
        "miou": float(np.mean(overlap)) if overlap else None,
        "miou_n": len(overlap),
        "miou_confidence": confidence,
        "iou_type": pair.iou_type,
        "images": len(pair.images),
        "targets": len(pair.truth["annotations"]),
        "detections": len(pair.found["annotations"]),
        "detections_of_unlisted_categories": pair.unlisted,
        "per_category": _per_category(pair, coco),
        "computed_with": f"pycocotools {version('pycocotools')}",
    }
    if matrices:
        found["ious"] = _matrices(pair)
    return found


def _run(pair: CocoPair) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = COCO(), COCO()
        truth.dataset, found.dataset = pair.truth, pair.found
        truth.createIndex()
        found.createIndex()
        coco = COCOeval(truth, found, pair.iou_type)
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    return coco


def _per_category(pair: CocoPair, coco: Any) -> list[dict[str, Any]]:
    precision, recall = coco.eval["precision"], coco.eval["recall"]
    counts = [[0, 0] for _ in pair.categories]
    for which, data in enumerate((pair.truth, pair.found)):
        for record in data["annotations"]:
            counts[record["category_id"] - 1][which] += 1
    found = []
    for k, (key, name) in enumerate(pair.categories):
        curves = precision[:, :, k, ALL_AREAS, MOST]
        figures = {"AP": curves, "AP50": curves[0], "AP75": curves[5], "AR100": recall[:, k, ALL_AREAS, MOST]}
        row: dict[str, Any] = {"id": key, "name": name, "targets": counts[k][0], "detections": counts[k][1]}
        found.append({**row, **{figure: average(values) for figure, values in figures.items()}})
    return found


def _mean_overlap(
    pair: CocoPair, targets: Mapping[int, Sequence[Any]], detections: Mapping[int, Sequence[Any]], confidence: float
) -> list[float]:
    """IoU of each target that is no crowd, in the order of images and categories."""
    found: list[float] = []
    for image, wanted in sorted(targets.items()):
        seen = [d for d in detections.get(image, ()) if d["score"] >= confidence]
        for category in sorted({t["category_id"] for t in wanted}):
            rows = [t for t in wanted if t["category_id"] == category and not t["iscrowd"]]
            columns = [d for d in seen if d["category_id"] == category]
            best = np.zeros(len(rows))
            if rows and columns:
                ious = overlaps(columns, rows, pair.iou_type).T
                i, j = linear_sum_assignment(ious, maximize=True)
                best[i] = ious[i, j]
            found += best.tolist()
    return found


def overlaps(detections: Sequence[Any], targets: Sequence[Any], iou_type: IouType) -> npt.NDArray[np.float64]:
    """IoU (detections, targets); against a crowd the intersection over the detection's own area, as COCO has it."""
    from pycocotools import mask as masks

    part = "bbox" if iou_type == "bbox" else "segmentation"
    crowd = [t["iscrowd"] for t in targets]
    return np.asarray(masks.iou([d[part] for d in detections], [t[part] for t in targets], crowd), dtype=np.float64)


def _matrices(pair: CocoPair) -> list[dict[str, Any]]:
    """Per image with targets and detections: all their IoU, categories mixed."""
    targets, detections = _grouped(pair.truth), _grouped(pair.found)
    return [
        {
            "image_id": pair.images[image - 1],
            "targets": [pair.targets[t["id"] - 1] for t in targets[image]],
            "crowd": [t["iscrowd"] for t in targets[image]],
            "detections": [pair.places[d["id"] - 1] for d in detections[image]],
            "iou": overlaps(detections[image], targets[image], pair.iou_type).tolist(),
        }
        for image in sorted(targets.keys() & detections.keys())
    ]


def _grouped(data: Mapping[str, Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for record in data["annotations"]:
        found[record["image_id"]].append(record)
    return dict(found)


def _value(value: float) -> float | None:
    return float(value) if value > -1 else None
