"""What detectors that are asked for categories by name have in common: from boxes and scores to detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from layoutmark.evidence import Detections
from layoutmark.features.optional_packages import needed
from layoutmark.metrics.coco import CONFIDENCE, MAX_DETECTIONS

if TYPE_CHECKING:
    from torch import Tensor

CANDIDATES = 10_000
"""Pairs of box and name that take part in suppression, the most confident first."""


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) of centre and size as (..., 4) of corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return needed("detector", "torch", "torch").cat([centre - half, centre + half], -1)  # type: ignore[no-any-return]


def detections_of(boxes: Tensor, scores: Tensor, names: Sequence[str], iou: float) -> Detections:
    """Detections, best first, of boxes (n, 4) normalised xyxy on the picture with scores (n, k) for k names.

    A box may carry several names.  Boxes are clipped to the picture, suppressed within each name above `iou`.
    """
    torch, ops = needed("detector", "torch", "torch"), needed("detector", "torchvision.ops", "torch")
    boxes = boxes.double().clamp(0.0, 1.0).cpu()
    real = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[:, None]
    at, name = torch.where((scores.cpu() > CONFIDENCE) & real)
    found = scores.cpu()[at, name].double()
    first = torch.argsort(found, descending=True, stable=True)[:CANDIDATES]
    at, name, found = at[first], name[first], found[first]
    kept = ops.batched_nms(boxes[at], found, name, iou)[:MAX_DETECTIONS]
    labels = tuple(names[int(k)] for k in name[kept])
    return Detections(boxes[at[kept]].numpy().reshape(-1, 4), np.asarray(found[kept].numpy()), labels)
