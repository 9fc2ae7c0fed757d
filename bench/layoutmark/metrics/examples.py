"""Small hand-made evidence, for the examples in docstrings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.score import Status

Corners = tuple[float, float, float, float]
ONE_CAT: Mapping[str, Corners] = MappingProxyType({"cat": (0.0, 0.0, 0.5, 0.5)})


def example_image(
    targets: Mapping[str, Corners] = ONE_CAT,
    detections: Mapping[str, Corners] | None = None,
    *,
    prompt: str = "a cat",
    seed: int = 0,
    instance: Mapping[str, Any] | None = None,
    masks: Sequence[Mask] | None = None,
    crops: Sequence[Mapping[str, Any]] = (),
    **features: Any,
) -> Evidence:
    """Evidence of one image of 64 x 64 pixels, with one target per category and at most one detection per category.

    Args:
        targets: Box (x0, y0, x1, y1) by category, in fractions of the canvas.
        detections: The same for what the detector found, each with confidence 0.9; None: no detections stored.
        prompt: The prompt, which is also the sample's id.
        seed: Seed index.
        instance: Further fields of every `Instance`, such as its point or attributes.
        masks: Mask of each detection in turn.
        crops: Fields of the `CropEvidence` of each target in turn; vectors may be lists.
        **features: Further fields of `Evidence`; vectors may be lists.

    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.25)})
    >>> image.sample.layout.boxes(), image.detections.boxes
    (array([[0. , 0. , 0.5, 0.5]]), array([[0.  , 0.  , 0.5 , 0.25]]))
    """
    instances = tuple(Instance(name, f"a {name}", name, Box(*box), **(instance or {})) for name, box in targets.items())
    return Evidence(
        Sample(prompt, prompt, Layout(Canvas(64, 64), instances)),
        seed,
        detections=None if detections is None else _detections(detections, masks),
        crops=tuple(
            CropEvidence(name, **{"vectors": {}, **_with_arrays(fields)})
            for name, fields in zip(targets, crops, strict=False)
        ),
        **{"status": Status.OK, **_with_arrays(features)},
    )


def example_mask(x0: int, y0: int, x1: int, y1: int) -> Mask:
    """A mask of 64 x 64 pixels, set from (x0, y0) up to but excluding (x1, y1).

    >>> example_mask(0, 0, 32, 16).area
    512
    """
    pixels = np.zeros((64, 64), dtype=bool)
    pixels[y0:y1, x0:x1] = True
    return Mask.from_array(pixels)


def _detections(boxes: Mapping[str, Corners], masks: Sequence[Mask] | None) -> Detections:
    corners = np.array(list(boxes.values()), dtype=np.float64).reshape(-1, 4)
    return Detections(corners, np.full(len(corners), 0.9), tuple(boxes), None if masks is None else tuple(masks))


def _with_arrays(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with the lists in `vectors` as float32 arrays."""
    vectors = {key: np.array(vector, dtype=np.float32) for key, vector in fields.get("vectors", {}).items()}
    return {**fields, **({"vectors": vectors} if vectors else {})}
