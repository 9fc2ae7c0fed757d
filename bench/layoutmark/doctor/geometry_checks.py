"""Checks of geometry: detections are in the right place on any canvas, at any size and in any batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.doctor.context import DoctorCheck, DoctorContext
from layoutmark.evidence import Detections
from layoutmark.features.images import GREY
from layoutmark.metrics.coco import MIN_RANKED_CONFIDENCE
from layoutmark.metrics.matching import MIN_CONFIDENCE, match_hits
from layoutmark.registry.scorer_engines import DETECTOR

MIN_RECALL = 0.9
"""Recall of the detector on true images."""
MIN_RECALL_ON_CANVAS = 0.8
"""Recall of the detector on canvases and under patterns it was not trained on."""
MIN_SECOND_RECALL = 0.5
"""Recall of a second detector on true images, which it may know less well; on canvases its own recall counts."""
MAX_BATCH_DIFFERENCE = 1e-4
"""Largest difference that the rest of a batch may make: single precision sums in a different order."""
MAX_PATTERN_DIFFERENCE = 0.05
"""Largest difference of an output between a fine pattern and plain grey."""
PATTERN_SCALE = 3.7
"""Side of the fine pattern, in input sides.  A resize without antialiasing turns it into a coarse one."""
DEFAULT_INPUT_SIDE = 224
"""Used for a scorer that does not declare its input side."""
OFFSETS = {"wide": (0.25, 0.0), "high": (0.0, 0.25)}
"""Growth of the canvas to the left and at the top, as shares of the image."""


def recall_and_count(
    context: DoctorContext, detections: Sequence[Detections], min_confidence: float
) -> tuple[float, int]:
    """Return the share of canary instances detected with their category at IoU 0.5, and the number of instances."""
    is_hit = [
        match >= 0
        for (sample, _), image_detections in zip(context.canaries, detections, strict=True)
        for match in match_hits(sample.layout, image_detections, confidence=min_confidence)
    ]
    return float(np.mean(is_hit)) if is_hit else 0.0, len(is_hit)


def _min_canvas_recall(context: DoctorContext, role: str) -> float:
    """Return the recall required on canvases and under patterns."""
    if role == DETECTOR:
        return MIN_RECALL_ON_CANVAS
    detections = context.detectors()[role](context.canary_images)
    return MIN_RECALL_ON_CANVAS * recall_and_count(context, detections, context.min_confidence(role))[0]


def check_recall(context: DoctorContext) -> tuple[bool, str]:
    """Check that each detector finds the instances of the true images."""
    details, ok = [], True
    for role, detect in context.detectors().items():
        detections, min_confidence = detect(context.canary_images), context.min_confidence(role)
        recall, count = recall_and_count(context, detections, min_confidence)
        confident = [d.scores[d.scores >= min_confidence] for d in detections]
        mean_confidence = float(np.mean([s.mean() if len(s) else 0.0 for s in confident]))
        ok = ok and recall >= (MIN_RECALL if role == DETECTOR else MIN_SECOND_RECALL)
        details.append(f"{role}: recall {recall:.2f}, mean confidence {mean_confidence:.2f} over {count} objects")
    return ok, "; ".join(details)


def check_low_confidence_detections(context: DoctorContext) -> tuple[bool, str]:
    """Check that detections of low confidence, which AP needs, are kept."""
    if DETECTOR not in context.scorers.filled_roles():
        return True, "no detector"
    scores = np.concatenate([d.scores for d in context.detectors()[DETECTOR](context.canary_images)])
    lowest = float(scores.min()) if len(scores) else 1.0
    ok = MIN_RANKED_CONFIDENCE <= lowest < MIN_CONFIDENCE / 2
    return ok, f"lowest confidence {lowest:.4f}, stored from {MIN_RANKED_CONFIDENCE}"


def check_boxes_on_canvas(context: DoctorContext) -> tuple[bool, str]:
    """Check that boxes are correct for true images at the right of a wide canvas and at the bottom of a high one."""
    details, ok = [], True
    for role, detect in context.detectors().items():
        min_recall = _min_canvas_recall(context, role)
        for name, (across, down) in OFFSETS.items():
            placed = [paste_on_canvas(true_image, across, down) for true_image in context.canary_images]
            detections = detect([canvas for canvas, _ in placed])
            on_image = [_from_canvas(d, *placement) for d, (_, placement) in zip(detections, placed, strict=True)]
            recall, _ = recall_and_count(context, on_image, context.min_confidence(role))
            ok = ok and recall >= min_recall
            details.append(f"{name} canvas {recall:.2f} ({role})")
    return ok, "recall on " + ", on ".join(details)


def paste_on_canvas(pixels: Pixels, across: float, down: float) -> tuple[Pixels, tuple[int, int, int, int]]:
    """Paste an image at the lower right of a grey canvas that is larger by these shares.

    Returns the canvas, and left, top, width and height of the image on it in pixels.
    """
    height, width = pixels.shape[:2]
    left, top = round(width * across), round(height * down)
    canvas = np.full((height + top, width + left, 3), GREY, np.uint8)
    canvas[top:, left:] = pixels
    return canvas, (left, top, width, height)


def _from_canvas(detections: Detections, left: int, top: int, width: int, height: int) -> Detections:
    """Convert boxes from canvas coordinates to those of the image pasted on it."""
    canvas_size = np.array([width + left, height + top] * 2, dtype=np.float64)
    boxes = (detections.boxes * canvas_size - [left, top, left, top]) / [width, height, width, height]
    return Detections(boxes, detections.scores, detections.labels)


def check_antialiasing(context: DoctorContext) -> tuple[bool, str]:
    """Check that a pattern too fine to see looks like grey, and hides no objects in images enlarged four times."""
    differences, ok = [], True
    for role, score_fn in context.image_scorers().items():
        side = round(PATTERN_SCALE * int(getattr(context.scorers.encoder(role), "image_size", DEFAULT_INPUT_SIDE)))
        checkerboard = np.broadcast_to((np.indices((side, side)).sum(0) % 2 * 255)[..., None], (side, side, 3))
        grey = np.full((side, side, 3), 128, np.uint8)
        pattern_output, grey_output = score_fn([np.ascontiguousarray(checkerboard, np.uint8), grey])
        difference = float(np.abs(pattern_output - grey_output).max())
        ok = ok and difference < MAX_PATTERN_DIFFERENCE
        differences.append(f"{role} {difference:.3f}")
    enlarged = [_enlarge_with_pattern(image) for image in context.canary_images]
    recalls = []
    for role, detect in context.detectors().items():
        recall, _ = recall_and_count(context, detect(enlarged), context.min_confidence(role))
        ok = ok and recall >= _min_canvas_recall(context, role)
        recalls.append(f"{recall:.2f} ({role})")
    return ok, f"a fine pattern differs from grey by {', '.join(differences)}; recall under it {', '.join(recalls)}"


def _enlarge_with_pattern(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    enlarged = Image.fromarray(pixels).resize((4 * width, 4 * height), Image.Resampling.BICUBIC)
    pattern = (np.indices((4 * height, 4 * width)).sum(0) % 2 * 160 - 80)[..., None]
    return np.asarray(np.clip(np.asarray(enlarged, np.int16) + pattern, 0, 255), np.uint8)


def check_batch_invariance(context: DoctorContext) -> tuple[bool, str]:
    """Check that each scorer gives the same output for an image alone and in a batch."""
    images = context.canary_images
    differences = {}
    for role, detect in context.detectors().items():
        together, alone = detect(images), [detect([i])[0] for i in images]
        differences[role] = max(_max_difference(a, b) for a, b in zip(together, alone, strict=True))
    for role, score_fn in context.image_scorers().items():
        alone_outputs = np.concatenate([score_fn([i]) for i in images])
        differences[role] = float(np.abs(score_fn(images) - alone_outputs).max())
    detail = ", ".join(f"{role} {v:.1e}" for role, v in differences.items())
    return max(
        differences.values()
    ) < MAX_BATCH_DIFFERENCE, f"largest difference between alone and in a batch: {detail}"


def _max_difference(a: Detections, b: Detections) -> float:
    if len(a) != len(b):
        return 1.0
    return float(max(np.abs(a.scores - b.scores).max(initial=0), np.abs(a.boxes - b.boxes).max(initial=0)))


CHECKS: dict[str, DoctorCheck] = {
    "detector finds true objects": check_recall,
    "detections are stored from low confidence": check_low_confidence_detections,
    "boxes are right on any canvas": check_boxes_on_canvas,
    "resizing is antialiased": check_antialiasing,
    "scores do not depend on the batch": check_batch_invariance,
}
