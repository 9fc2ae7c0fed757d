"""Random evidence with everything that a metric may need, reproducible from its seed on every machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.measure.pixels import colour_shares, contrast, saturation
from layoutmark.score import Status

CATEGORIES = ("bus", "cat", "dog", "kite")
SCORERS = {
    "detector": "yolo", "clip": "clip", "dino": "vit", "quality": "iqa", "pixels": "hsv", "masks": "yolo-seg",
    "reference": "portrait", "lpips": "alexnet",
}  # fmt: skip
ALL_SCORERS = {
    **SCORERS, "second_detector": "owl", "inception": "pool3", "dinov2": "vit-2", "clip_b32": "clip-2",
    "quality_musiq": "musiq",
}  # fmt: skip
"""Also the optional roles of a stack; `with_extra_encoders` adds their outputs."""
COLOURS = {"red": (220, 40, 40), "blue": (40, 90, 230), "green": (40, 170, 60), "yellow": (250, 200, 30)}
SIDE, CANVAS, WIDTH = 32, 256, 16
"""Side of images and masks in pixels; side of the canvas, which areas refer to; length of vectors."""


def evidence(seed: int, samples: int = 10, seeds: int = 2) -> tuple[list[Evidence], list[np.ndarray]]:
    """Images and their pixels (SIDE, SIDE, 3): `samples` times `seeds`, one of them failed."""
    rng = np.random.default_rng(seed)
    images, pixels_list = [], []
    for s in range(samples):
        sample = _sample(rng, s)
        references = {i.id: _vector(rng) for i in sample.layout.instances}
        true = {f"{kind}/true-image": _vector(rng) for kind in ("clip", "dino")}
        for k in range(seeds):
            image_pixels = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
            for instance in sample.layout.instances:
                x0, y0, x1, y1 = instance.box.to_cells(SIDE, SIDE)
                image_pixels[y0:y1:2, x0:x1] = COLOURS[str(rng.choice(list(COLOURS)))]
            images.append(_evidence(rng, sample, k, image_pixels, references, true))
            pixels_list.append(image_pixels)
    images[3] = Evidence(images[3].sample, images[3].seed, Status.FAILED, "no paint left")
    return images, pixels_list


def with_masks(images: list[Evidence], seed: int) -> list[Evidence]:
    """Copies with a mask for every target, and detection masks that resemble the contents of their boxes."""
    rng = np.random.default_rng([seed, 1])
    changed = []
    for e in images:
        things = tuple(
            replace(i, mask=i.mask or _filled(rng, i.box.to_cells(SIDE, SIDE))) for i in e.sample.layout.instances
        )
        sample = replace(e.sample, layout=Layout(e.sample.layout.canvas, things))
        detections = e.detections
        if detections is not None:
            cells = [Box(*map(float, box)).to_cells(SIDE, SIDE) for box in np.clip(detections.boxes, 0, 1)]
            masks = tuple(_filled(rng, c) if rng.random() < 0.9 else None for c in cells)
            detections = replace(detections, masks=masks)
        changed.append(replace(e, sample=sample, detections=detections))
    return changed


def with_extra_encoders(images: list[Evidence], seed: int) -> list[Evidence]:
    """Copies with the outputs of a second detector, of Inception (vectors of any length) and of extra encoders."""
    rng = np.random.default_rng([seed, 2])
    true = {e.sample.id: rng.normal(size=WIDTH).astype(np.float32) for e in images}
    changed = []
    for e in images:
        if e.detections is None:
            changed.append(e)
            continue
        has_marks = np.flatnonzero(rng.random(len(e.detections)) < 0.8)
        boxes = np.sort(
            (e.detections.boxes[has_marks] + rng.normal(0, 0.03, (len(has_marks), 4))).reshape(-1, 2, 2), axis=1
        )
        boxes = np.clip(boxes.reshape(-1, 4), 0, 1) + np.array([0, 0, 1e-3, 1e-3])
        second = Detections(
            boxes,
            np.sort(rng.uniform(0.01, 1.0, len(has_marks)))[::-1].copy(),
            tuple(e.detections.labels[k] for k in has_marks),
        )
        vectors = {"clip_b32/image": _vector(rng), "clip_b32/prompt": _vector(rng)}
        vectors |= {
            "inception/image": rng.normal(size=WIDTH).astype(np.float32),
            "inception/true-image": true[e.sample.id],
        }
        parts = [f"{k}/{p}" for k in ("dinov2", "clip_b32") for p in ("target-crop", "detected-crop", "reference")]
        crops = tuple(replace(c, vectors={**c.vectors, **{p: _vector(rng) for p in parts}}) for c in e.crops)
        quality = {**e.quality, "quality_musiq": float(rng.uniform())}
        changed.append(
            replace(e, second_detections=second, vectors={**e.vectors, **vectors}, crops=crops, quality=quality)
        )
    return changed


def _filled(rng: np.random.Generator, cells: tuple[int, int, int, int]) -> Mask:
    x0, y0, x1, y1 = cells
    grid = np.zeros((SIDE, SIDE), bool)
    grid[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < 0.9
    return Mask.from_array(grid)


def _sample(rng: np.random.Generator, number: int) -> Sample:
    instances = []
    for k in range(int(rng.integers(0, 5)) if number else 3):
        box = Box(*_box(rng))
        marks = tuple((float(x), float(y)) for x, y in rng.uniform((box.x0, box.y0), (box.x1, box.y1), (4, 2)))
        grid = np.zeros((SIDE, SIDE), bool)
        x0, y0, x1, y1 = box.to_cells(SIDE, SIDE)
        grid[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < 0.8
        category = str(rng.choice(CATEGORIES[:3]))
        colour = str(rng.choice(list(COLOURS)))
        has_marks = bool(rng.random() < 0.8)
        instances.append(
            Instance(
                f"i{k}", f"a {colour} {category}", category, box, mask=Mask.from_array(grid) if has_marks else None,
                point=marks[0] if has_marks else None, scribble=marks[1:] if has_marks else None,
                attributes={"colour": colour, "texture": "furry"} if has_marks else {}, reference=f"r{min(k, 2)}",
            )
        )  # fmt: skip
    return Sample(f"s{number:03d}", f"prompt {number}", Layout(Canvas(CANVAS, CANVAS), tuple(instances)))


def _box(rng: np.random.Generator) -> tuple[float, float, float, float]:
    x, y = rng.uniform(0, 0.55, 2)
    w, h = rng.uniform(0.1, 0.4, 2) * rng.choice([1.0, 1.0, 2.0])
    return float(x), float(y), float(min(1, x + w)), float(min(1, y + h))


def _vector(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=WIDTH)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _evidence(
    rng: np.random.Generator,
    sample: Sample,
    seed: int,
    image_pixels: np.ndarray,
    references: dict[str, np.ndarray],
    true: dict[str, np.ndarray],
) -> Evidence:
    rows: list[tuple[float, str, tuple[float, ...]]] = []
    for instance in sample.layout.instances:
        for _ in range(int(rng.integers(0, 3))):
            moved = np.array(instance.box.xyxy) + rng.normal(0, 0.03, 4)
            x0, y0, x1, y1 = np.clip(moved, 0, 1)
            label = instance.category if rng.random() < 0.85 else str(rng.choice(CATEGORIES))
            rows.append((float(rng.uniform()), label, (min(x0, x1), min(y0, y1), max(x0, x1) + 1e-3, max(y0, y1))))
    for _ in range(int(rng.integers(0, 3))):
        rows.append((float(rng.uniform()), str(rng.choice(CATEGORIES)), _box(rng)))
    rows.sort(key=lambda r: -r[0])
    masks = tuple(Mask.from_array(rng.random((SIDE, SIDE)) < 0.5) for _ in rows)
    detections = Detections(
        np.array([r[2] for r in rows]).reshape(-1, 4), np.array([r[0] for r in rows]), tuple(r[1] for r in rows), masks
    )
    crops = []
    for instance in sample.layout.instances:
        vectors = {
            f"{kind}/{what}": _vector(rng)
            for kind, parts in (("clip", ("target-crop", "detected-crop", "phrase")), ("dino", ("target-crop",)))
            for what in parts
        }
        near = references[instance.id] + 0.6 * _vector(rng)
        vectors["dino/target-crop"] = (near / np.linalg.norm(near)).astype(np.float32)
        for kind in ("clip", "dino"):
            vectors[f"{kind}/reference"] = references[instance.id]
            vectors |= {f"{kind}/{part}": _vector(rng) for part in ("masked-crop", "whole-reference", "true-crop")}
            vectors |= {f"{kind}/reference-{n}": _vector(rng) for n in range(2, 2 + len(instance.id) % 2 + len(crops))}
            if instance.mask is not None:
                vectors[f"{kind}/masked-reference"] = _vector(rng)
        x0, y0, x1, y1 = instance.box.to_cells(SIDE, SIDE)
        part = image_pixels[y0:y1, x0:x1]
        inside = image_pixels[instance.mask.to_array()] if instance.mask is not None else image_pixels[:0, 0]
        words = {
            key: {word: float(rng.uniform()) for word in sorted({own, *("red", "blue", "furry")})}
            for key, own in instance.attributes.items()
        }
        crops.append(
            CropEvidence(
                instance.id, vectors, {"dino/detected-crop": "not detected"}, colour_shares(part), part[..., 0].size,
                colour_shares(inside) if len(inside) else {}, len(inside), words,
            )
        )  # fmt: skip
    quality: dict[str, Any] = {
        "clip-iqa": float(rng.uniform()), "contrast": contrast(image_pixels), "saturation": saturation(image_pixels),
        "text-cut": 0.0,
    }  # fmt: skip
    image_vectors = {"clip/image": _vector(rng), "clip/prompt": _vector(rng), "dino/image": _vector(rng), **true}
    return Evidence(sample, seed, Status.OK, "", detections, image_vectors, tuple(crops), quality)
