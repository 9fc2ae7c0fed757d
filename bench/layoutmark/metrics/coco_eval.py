"""Figures of a pair of COCO files: the twelve that pycocotools prints, figures per category, mean IoU, IoU matrices."""

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

from layoutmark.metrics.coco import mean_of_defined
from layoutmark.metrics.coco_files import CocoPair, IouType
from layoutmark.metrics.matching import MIN_CONFIDENCE

COCO_FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve figures in pycocotools' order; values in [0, 1]."""
ALL_AREAS_INDEX, MAX_DETECTIONS_INDEX = 0, -1
"""Indices into pycocotools' tables: all sizes, and the largest limit on detections per image and category (100)."""


def evaluate(pair: CocoPair, *, confidence: float = MIN_CONFIDENCE, matrices: bool = False) -> dict[str, Any]:
    """All figures of a pair of files as plain data; None where there is nothing to average.

    `miou` is the mean over all targets, except crowds, of the IoU with the detection assigned to the target, or 0.
    Detections are assigned one to one within image and category, maximising the sum of IoUs (Hungarian algorithm).

    Args:
        pair: Ground truth and detections.
        confidence: Lowest confidence of the detections that take part in `miou`.
        matrices: Whether to add the IoU matrices of all images as `ious`.

    >>> box, image, category = [0, 0, 4, 4], {"id": 1, "height": 8, "width": 8}, {"id": 1}
    >>> target = {"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 16.0, "iscrowd": 0}
    >>> shared = {"images": [image], "categories": [category]}
    >>> truth, detected = {**shared, "annotations": [target]}, {**shared, "annotations": [{**target, "score": 0.9}]}
    >>> figures = evaluate(CocoPair("bbox", truth, detected, [1], [(1, "cat")], [1], [0], {}))
    >>> figures["miou"], round(figures["AP50"], 3)
    (1.0, 1.0)
    """
    coco = _run_pycocotools(pair)
    figures = {name: _none_if_undefined(v) for name, v in zip(COCO_FIGURES, coco.stats, strict=True)}
    ious = _matched_ious(pair, confidence)
    result: dict[str, Any] = {
        **figures,
        "miou": float(np.mean(ious)) if ious else None,
        "miou_n": len(ious),
        "miou_confidence": confidence,
        "iou_type": pair.iou_type,
        "images": len(pair.images),
        "targets": len(pair.ground_truth["annotations"]),
        "detections": len(pair.detections["annotations"]),
        "detections_of_unlisted_categories": pair.unlisted_categories,
        "per_category": _category_figures(pair, coco),
        "computed_with": f"pycocotools {version('pycocotools')}",
    }
    if matrices:
        result["ious"] = _iou_matrices(pair)
    return result


def _run_pycocotools(pair: CocoPair) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth, detections = COCO(), COCO()
        ground_truth.dataset, detections.dataset = pair.ground_truth, pair.detections
        ground_truth.createIndex()
        detections.createIndex()
        coco = COCOeval(ground_truth, detections, pair.iou_type)
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    return coco


def _category_figures(pair: CocoPair, coco: Any) -> list[dict[str, Any]]:
    precision, recall = coco.eval["precision"], coco.eval["recall"]
    counts = [[0, 0] for _ in pair.categories]
    for column, data in enumerate((pair.ground_truth, pair.detections)):
        for record in data["annotations"]:
            counts[record["category_id"] - 1][column] += 1
    rows = []
    for k, (key, name) in enumerate(pair.categories):
        curves = precision[:, :, k, ALL_AREAS_INDEX, MAX_DETECTIONS_INDEX]
        recalls = recall[:, k, ALL_AREAS_INDEX, MAX_DETECTIONS_INDEX]
        figures = {"AP": curves, "AP50": curves[0], "AP75": curves[5], "AR100": recalls}
        row: dict[str, Any] = {"id": key, "name": name, "targets": counts[k][0], "detections": counts[k][1]}
        rows.append({**row, **{figure: mean_of_defined(values) for figure, values in figures.items()}})
    return rows


def _matched_ious(pair: CocoPair, confidence: float) -> list[float]:
    """IoU of each target that is not a crowd, in the order of images and categories."""
    targets, detections = _group_by_image(pair.ground_truth), _group_by_image(pair.detections)
    ious: list[float] = []
    for image, image_targets in sorted(targets.items()):
        confident = [d for d in detections.get(image, ()) if d["score"] >= confidence]
        for category in sorted({t["category_id"] for t in image_targets}):
            rows = [t for t in image_targets if t["category_id"] == category and not t["iscrowd"]]
            columns = [d for d in confident if d["category_id"] == category]
            matched = np.zeros(len(rows))
            if rows and columns:
                matrix = coco_iou(columns, rows, pair.iou_type).T
                i, j = linear_sum_assignment(matrix, maximize=True)
                matched[i] = matrix[i, j]
            ious += matched.tolist()
    return ious


def coco_iou(detections: Sequence[Any], targets: Sequence[Any], iou_type: IouType) -> npt.NDArray[np.float64]:
    """IoU matrix (detections, targets); with a crowd, the intersection over the detection's own area, as in COCO.

    Args:
        detections: Records with `bbox` (x, y, width, height in pixels) or `segmentation`.
        targets: The same, with `iscrowd`.
        iou_type: Whether to compare boxes (``bbox``) or masks (``segm``).

    >>> coco_iou([{"bbox": [0, 0, 4, 4]}], [{"bbox": [0, 0, 4, 2], "iscrowd": 0}], "bbox")
    array([[0.5]])
    """
    from pycocotools import mask as masks

    field = "bbox" if iou_type == "bbox" else "segmentation"
    is_crowd = [t["iscrowd"] for t in targets]
    return np.asarray(
        masks.iou([d[field] for d in detections], [t[field] for t in targets], is_crowd), dtype=np.float64
    )


def _iou_matrices(pair: CocoPair) -> list[dict[str, Any]]:
    """For each image with targets and detections, the IoU of all of them, across categories."""
    targets, detections = _group_by_image(pair.ground_truth), _group_by_image(pair.detections)
    return [
        {
            "image_id": pair.images[image - 1],
            "targets": [pair.targets[t["id"] - 1] for t in targets[image]],
            "crowd": [t["iscrowd"] for t in targets[image]],
            "detections": [pair.detection_positions[d["id"] - 1] for d in detections[image]],
            "iou": coco_iou(detections[image], targets[image], pair.iou_type).tolist(),
        }
        for image in sorted(targets.keys() & detections.keys())
    ]


def _group_by_image(data: Mapping[str, Any]) -> dict[int, list[Any]]:
    groups: dict[int, list[Any]] = defaultdict(list)
    for record in data["annotations"]:
        groups[record["image_id"]].append(record)
    return dict(groups)


def _none_if_undefined(value: float) -> float | None:
    return float(value) if value > -1 else None
