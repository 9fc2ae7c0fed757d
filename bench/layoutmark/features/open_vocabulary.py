"""Shared by detectors that are given category names: from boxes and scores to detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from layoutmark.evidence import Detections
from layoutmark.features.optional_packages import require_package
from layoutmark.metrics.coco import MAX_DETECTIONS, MIN_RANKED_CONFIDENCE

if TYPE_CHECKING:
    from torch import Tensor

MAX_CANDIDATES = 10_000
"""Pairs of box and name that enter non-maximum suppression, the most confident first."""


def centre_to_corners(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) from centre and size to corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return require_package("detector", "torch", "torch").cat([centre - half, centre + half], -1)  # type: ignore[no-any-return]


def select_detections(boxes: Tensor, scores: Tensor, names: Sequence[str], iou: float) -> Detections:
    """Return detections, best first, from boxes (n, 4) normalised xyxy on the image and scores (n, k) for k names.

    A box may have several names.  Boxes are clipped to the image, and suppressed within each name above IoU `iou`.
    """
    torch = require_package("detector", "torch", "torch")
    ops = require_package("detector", "torchvision.ops", "torch")
    boxes = boxes.double().clamp(0.0, 1.0).cpu()
    has_area = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[:, None]
    box_index, name_index = torch.where((scores.cpu() > MIN_RANKED_CONFIDENCE) & has_area)
    confidences = scores.cpu()[box_index, name_index].double()
    best = torch.argsort(confidences, descending=True, stable=True)[:MAX_CANDIDATES]
    box_index, name_index, confidences = box_index[best], name_index[best], confidences[best]
    selected = ops.batched_nms(boxes[box_index], confidences, name_index, iou)[:MAX_DETECTIONS]
    labels = tuple(names[int(k)] for k in name_index[selected])
    return Detections(
        boxes[box_index[selected]].numpy().reshape(-1, 4), np.asarray(confidences[selected].numpy()), labels
    )
