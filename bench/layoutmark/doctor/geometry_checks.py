"""Geometry: where detectors say things are, whatever the canvas, the size and the company of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.doctor.context import DoctorContext, Question
from layoutmark.evidence import Detections
from layoutmark.features.images import GREY
from layoutmark.metrics.coco import CONFIDENCE
from layoutmark.metrics.matching import CONFIDENCE as SHOWN
from layoutmark.metrics.matching import hits
from layoutmark.registry.scorer_engines import DETECTOR

FOUND, STRETCHED = 0.9, 0.8
"""Least share of true objects found: on true images, and on canvases that the detector was not trained on."""
ANOTHER = 0.5
"""The same of a second detector, which need not know these things so well; on canvases it is held to its own share."""
SAME = 1e-4
"""Largest difference that the company of a picture may make: single precision adds up in another order."""
FINE, SIDE = 3.7, 224
"""Times the input's side that a fine pattern has, which a resize without antialiasing turns into a coarse one; and the
side where a scorer names none."""


def found_share(ward: DoctorContext, seen: Sequence[Detections], least: float) -> tuple[float, int]:
    """Share of things that have a detection of their category at IoU 0.5, and how many things there are."""
    hit = [
        j >= 0
        for (sample, _), found in zip(ward.shown, seen, strict=True)
        for j in hits(sample.layout, found, confidence=least)
    ]
    return float(np.mean(hit)) if hit else 0.0, len(hit)


def _bar(ward: DoctorContext, role: str) -> float:
    """Least recall on canvases and under patterns."""
    if role == DETECTOR:
        return STRETCHED
    return STRETCHED * found_share(ward, ward.detectors()[role](ward.pictures), ward.least(role))[0]


def _detector(ward: DoctorContext) -> tuple[bool, str]:
    said, ok = [], True
    for role, detect in ward.detectors().items():
        seen, least = detect(ward.pictures), ward.least(role)
        share, count = found_share(ward, seen, least)
        shown = [d.scores[d.scores >= least] for d in seen]
        confidence = float(np.mean([s.mean() if len(s) else 0.0 for s in shown]))
        ok = ok and share >= (FOUND if role == DETECTOR else ANOTHER)
        said.append(f"{role}: recall {share:.2f}, mean confidence {confidence:.2f} over {count} objects")
    return ok, "; ".join(said)


def _low(ward: DoctorContext) -> tuple[bool, str]:
    if DETECTOR not in ward.scorers.kinds():
        return True, "no detector"
    scores = np.concatenate([d.scores for d in ward.detectors()[DETECTOR](ward.pictures)])
    least = float(scores.min()) if len(scores) else 1.0
    return CONFIDENCE <= least < SHOWN / 2, f"lowest confidence {least:.4f}, stored from {CONFIDENCE}"


def _canvas(ward: DoctorContext) -> tuple[bool, str]:
    """True images at the right of a wide and at the bottom of a high canvas: boxes must lie where they lie."""
    said, ok = [], True
    for role, detect in ward.detectors().items():
        bar = _bar(ward, role)
        for name, (across, down) in {"wide": (0.25, 0.0), "high": (0.0, 0.25)}.items():
            placed = [on_canvas(true, across, down) for true in ward.pictures]
            seen = detect([canvas for canvas, _ in placed])
            back = [_moved_back(found, *place) for found, (_, place) in zip(seen, placed, strict=True)]
            share, _ = found_share(ward, back, ward.least(role))
            ok = ok and share >= bar
            said.append(f"{name} canvas {share:.2f} ({role})")
    return ok, "recall on " + ", on ".join(said)


def on_canvas(true: Pixels, across: float, down: float) -> tuple[Pixels, tuple[int, int, int, int]]:
    """A picture at the lower right of a grey canvas, larger by these shares; left, top, width and height there."""
    height, width = true.shape[:2]
    left, top = round(width * across), round(height * down)
    canvas = np.full((height + top, width + left, 3), GREY, np.uint8)
    canvas[top:, left:] = true
    return canvas, (left, top, width, height)


def _moved_back(found: Detections, left: int, top: int, width: int, height: int) -> Detections:
    """Boxes of the canvas as boxes of the picture that lies in it."""
    size = np.array([width + left, height + top] * 2, dtype=np.float64)
    boxes = (found.boxes * size - [left, top, left, top]) / [width, height, width, height]
    return Detections(boxes, found.scores, found.labels)


def _kernel(ward: DoctorContext) -> tuple[bool, str]:
    """A pattern too fine to be seen must look like grey, and hide no things of a picture four times as large."""
    said, ok = [], True
    for kind, say in ward.sayings().items():
        side = round(FINE * int(getattr(ward.scorers.encoder(kind), "image_size", SIDE)))
        pattern = np.broadcast_to((np.indices((side, side)).sum(0) % 2 * 255)[..., None], (side, side, 3))
        fine, flat = say([np.ascontiguousarray(pattern, np.uint8), np.full((side, side, 3), 128, np.uint8)])
        apart = float(np.abs(fine - flat).max())
        ok = ok and apart < 0.05
        said.append(f"{kind} {apart:.3f}")
    large = []
    for picture in ward.pictures:
        height, width = picture.shape[:2]
        grown = np.asarray(Image.fromarray(picture).resize((4 * width, 4 * height), Image.Resampling.BICUBIC), np.int16)
        grain = (np.indices(grown.shape[:2]).sum(0) % 2 * 160 - 80)[..., None]
        large.append(np.clip(grown + grain, 0, 255).astype(np.uint8))
    shares = []
    for role, detect in ward.detectors().items():
        share, _ = found_share(ward, detect(large), ward.least(role))
        ok = ok and share >= _bar(ward, role)
        shares.append(f"{share:.2f} ({role})")
    return ok, f"a fine pattern differs from grey by {', '.join(said)}; recall under it {', '.join(shares)}"


def _batch(ward: DoctorContext) -> tuple[bool, str]:
    images = ward.pictures
    worst = {}
    for role, detect in ward.detectors().items():
        together, alone = detect(images), [detect([i])[0] for i in images]
        worst[role] = max(_apart(a, b) for a, b in zip(together, alone, strict=True))
    for kind, say in ward.sayings().items():
        worst[kind] = float(np.abs(say(images) - np.concatenate([say([i]) for i in images])).max())
    said = ", ".join(f"{k} {v:.1e}" for k, v in worst.items())
    return max(worst.values()) < SAME, f"largest difference alone and in company: {said}"


def _apart(a: Detections, b: Detections) -> float:
    if len(a) != len(b):
        return 1.0
    return float(max(np.abs(a.scores - b.scores).max(initial=0), np.abs(a.boxes - b.boxes).max(initial=0)))


CHECKS: dict[str, Question] = {
    "detector finds true objects": _detector,
    "detections are stored from low confidence": _low,
    "boxes lie right on any canvas": _canvas,
    "resizing is antialiased": _kernel,
    "scores do not depend on the batch": _batch,
}
