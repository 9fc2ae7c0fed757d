"""Checks of images: other formats are refused, blank images show nothing, and degraded images are told apart."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.doctor.context import DoctorCheck, DoctorContext, is_scalar_scorer
from layoutmark.doctor.geometry_checks import MAX_BATCH_DIFFERENCE, recall_and_count
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.registry.scorer_engines import LPIPS, QUALITY, SEGMENTER

OTHER_FORMATS: dict[str, Callable[[Pixels], Any]] = {
    "floats from 0 to 1": lambda p: p.astype(np.float32) / 255,
    "floats from 0 to 255": lambda p: p.astype(np.float32),
    "NaN": lambda p: np.full(p.shape, np.nan, np.float32),
    "16-bit integers": lambda p: p.astype(np.uint16),
    "greyscale": lambda p: p[..., 0],
    "one channel": lambda p: p[..., :1],
    "RGBA": lambda p: np.dstack([p, np.full(p.shape[:2], 255, np.uint8)]),
    "channels first": lambda p: np.ascontiguousarray(p.transpose(2, 0, 1)),
    "a list of numbers": lambda p: p.tolist(),
}
"""A person would accept each of these as an image; a scorer that accepts it gives a wrong number."""
LARGE_BOX = np.array([[0.1, 0.1, 0.9, 0.9]])
JPEG_QUALITY = 10
"""Low enough for the artefacts to be plainly visible."""
MAX_COSINE = 0.999
"""Upper limit of the cosine between vectors of different images."""


def check_other_formats(context: DoctorContext) -> tuple[bool, str]:
    """Check that every scorer refuses images that are not uint8 RGB arrays."""
    scorers: dict[str, Callable[[Sequence[Any]], object]] = {**context.image_scorers(), **context.detectors()}
    if SEGMENTER in context.scorers.filled_roles():
        scorers[SEGMENTER] = lambda images: context.scorers.segmenter.segment(images, [LARGE_BOX] * len(images))
    accepted = []
    for role, score_fn in scorers.items():
        for name, convert in OTHER_FORMATS.items():
            try:
                score_fn([convert(context.canary_images[0])])
            except LayoutmarkError:
                continue
            accepted.append(f"{role} accepted {name}")
    return not accepted, ", ".join(accepted) or f"{', '.join(OTHER_FORMATS)}: refused by {', '.join(sorted(scorers))}"


def blank_images(shape: tuple[int, ...]) -> dict[str, Pixels]:
    """Return images (h, w, 3) of this shape that show nothing: black, white and noise."""
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, shape, dtype=np.uint8)
    return {"black": np.zeros(shape, np.uint8), "white": np.full(shape, 255, np.uint8), "noise": noise}


def check_blank_images(context: DoctorContext) -> tuple[bool, str]:
    """Check that nothing is detected on black and white, and that vectors of blank images are finite and differ."""
    blanks = blank_images(context.canary_images[0].shape)
    details, ok = [], True
    for role, detect in context.detectors().items():
        for name, detections in zip(blanks, detect(list(blanks.values())), strict=True):
            count = int((detections.scores >= context.min_confidence(role)).sum())
            # Detectors trained only on images with objects see some in noise.  The count is reported but not judged,
            # because only the stack's card can say whether noise is to be expected.
            ok = ok and (count == 0 or name == "noise")
            details.append(f"{name} {count} ({role})")
    for role, score_fn in context.image_scorers().items():
        values = score_fn(list(blanks.values()))
        ok = ok and bool(np.isfinite(values).all())
        if not is_scalar_scorer(role):
            ok = ok and bool(np.abs(np.linalg.norm(values, axis=1) - 1).max() < 1e-3)
            ok = ok and float((values @ values.T)[np.triu_indices(len(values), 1)].max()) < MAX_COSINE
    return ok, f"detections in {', '.join(details)}; vectors are finite, of length 1 and differ"


def check_quality_order(context: DoctorContext) -> tuple[bool, str]:
    """Check that quality ranks true images above blank ones and strong JPEG compression."""
    if QUALITY not in context.scorers.filled_roles():
        return True, "no CLIP-IQA"
    score_fn = context.image_scorers()[QUALITY]
    blanks = blank_images(context.canary_images[0].shape)
    true_score = float(score_fn(context.canary_images).mean())
    worse = {name: float(v) for name, v in zip(blanks, score_fn(list(blanks.values()))[:, 0], strict=True)}
    worse["JPEG"] = float(score_fn(DEGRADED["JPEG"](context)).mean())
    detail = ", ".join(f"{name} {v:.2f}" for name, v in worse.items())
    return true_score > max(worse.values()), f"true images {true_score:.2f}, {detail}"


def check_encoders_react(context: DoctorContext) -> tuple[bool, str]:
    """Check that encoders react to degraded images; one that does not ignores these pixels."""
    details, ok = [], True
    for role, score_fn in context.image_scorers().items():
        if is_scalar_scorer(role):
            continue
        true_vectors = score_fn(context.canary_images)
        cosines = {
            name: float((true_vectors * score_fn(degrade(context))).sum(1).mean()) for name, degrade in DEGRADED.items()
        }
        ok = ok and max(cosines.values()) < MAX_COSINE
        details += [f"{role} {name} {v:.3f}" for name, v in cosines.items()]
    return ok, "cosine with the true image: " + ", ".join(details)


def check_other_scorers_react(context: DoctorContext) -> tuple[bool, str]:
    """Check that the output of scalar scorers, detectors and the segmenter changes for degraded images."""
    details, ok = [], True
    for role, score_fn in context.image_scorers().items():
        if is_scalar_scorer(role):
            true_values = score_fn(context.canary_images)
            degraded_values = {name: score_fn(degrade(context)) for name, degrade in DEGRADED.items()}
            ok = ok and all(bool((v != true_values).any()) for v in degraded_values.values())
            details += [
                f"{role} {true_values.mean():.2f}", *(f"{name} {v.mean():.2f}" for name, v in degraded_values.items()),
            ]  # fmt: skip
    for role, detect in context.detectors().items():
        true_detections = detect(context.canary_images)
        degraded = {name: detect(degrade(context)) for name, degrade in DEGRADED.items()}
        ok = ok and all(
            any(not _are_equal(a, b) for a, b in zip(true_detections, detections, strict=True))
            for detections in degraded.values()
        )
        min_confidence = context.min_confidence(role)
        details.append(f"{role} finds {recall_and_count(context, true_detections, min_confidence)[0]:.2f}")
        details += [
            f"{name} {recall_and_count(context, detections, min_confidence)[0]:.2f}"
            for name, detections in degraded.items()
        ]
    if SEGMENTER in context.scorers.filled_roles():
        boxes = [sample.layout.boxes() for sample, _ in context.canaries]
        segment = context.scorers.segmenter.segment
        true_masks = segment(context.canary_images, boxes)
        degraded_masks = {name: segment(degrade(context), boxes) for name, degrade in DEGRADED.items()}
        ok = ok and all(masks != true_masks for masks in degraded_masks.values())
    return ok, ", ".join(details)


def _are_equal(a: Detections, b: Detections) -> bool:
    return a.labels == b.labels and bool((a.boxes == b.boxes).all() and (a.scores == b.scores).all())


def check_lpips_order(context: DoctorContext) -> tuple[bool, str]:
    """Check that LPIPS is 0 from an image to itself, small to one that hardly differs, and larger to its negative."""
    roles = context.scorers.roles(LPIPS)
    if not roles:
        return True, "no LPIPS"
    image = context.canary_images[0]
    lighter = np.clip(image.astype(np.int16) + 2, 0, 255).astype(np.uint8)
    distances = context.image_scorers()[roles[0]]([image, lighter, 255 - image])[:, 0]
    to_itself, to_lighter, to_negative = (float(v) for v in distances)
    ok = abs(to_itself) < MAX_BATCH_DIFFERENCE and to_itself < to_lighter < to_negative
    return ok, f"itself {to_itself:.1e}, lighter {to_lighter:.3f}, negative {to_negative:.3f}"


def _compress(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(file).convert("RGB"))


def _swap_red_and_blue(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[..., ::-1])


def _to_grey(pixels: Pixels) -> Pixels:
    luma = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


def _apply_to_canaries(degrade: Callable[[Pixels], Pixels]) -> Callable[[DoctorContext], list[Pixels]]:
    return lambda context: [degrade(image) for image in context.canary_images]


DEGRADED = {
    "JPEG": _apply_to_canaries(_compress), "red and blue swapped": _apply_to_canaries(_swap_red_and_blue),
    "grey": _apply_to_canaries(_to_grey),
}  # fmt: skip
"""Degraded versions of the true images."""
CHECKS: dict[str, DoctorCheck] = {
    "other image formats are refused": check_other_formats,
    "blank images show nothing": check_blank_images,
    "quality ranks true images first": check_quality_order,
    "encoders react to JPEG, swapped channels and grey": check_encoders_react,
    "other scorers react to them too": check_other_scorers_react,
    "LPIPS ranks differences": check_lpips_order,
}
