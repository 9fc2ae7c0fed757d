"""Evidence for tests: hand-made, or random with a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.score import Status

Corners = tuple[float, float, float, float]
CATEGORIES = ("bus", "cat", "dog", "kite")
SCORERS = {"detector": "tiny-yolo", "clip": "tiny-clip", "dino": "tiny-vit", "quality": "tiny-iqa", "pixels": "hsv"}


def make_image(
    targets: Sequence[tuple[str, Corners]],
    detections: Sequence[tuple[str, float, Corners]] | None = (),
    *,
    id: str = "s",
    seed: int = 0,
    status: Status = Status.OK,
    canvas: Canvas | None = None,
    references: bool = True,
    crops: Sequence[CropEvidence] = (),
    vectors: Mapping[str, np.ndarray] | None = None,
    quality: Mapping[str, float] | None = None,
) -> Evidence:
    """An image with targets (category, box) and detections (label, score, box), in any order."""
    instances = tuple(
        Instance(f"i{k}", f"a {name}", name, Box(*box), reference=f"r{k}" if references else None)
        for k, (name, box) in enumerate(targets)
    )
    sample = Sample(id, "a prompt", Layout(canvas or Canvas(64, 64), instances))
    stored = None
    if detections is not None:
        best_first = sorted(detections, key=lambda d: -d[1])
        stored = Detections(
            np.array([d[2] for d in best_first], dtype=np.float64).reshape(-1, 4),
            np.array([d[1] for d in best_first], dtype=np.float64),
            tuple(d[0] for d in best_first),
        )
    return Evidence(sample, seed, status, "", stored, dict(vectors or {}), tuple(crops), dict(quality or {}))


def random_box(rng: np.random.Generator) -> Corners:
    x, y = rng.uniform(0, 0.7, 2)
    w, h = rng.uniform(0.05, 0.3, 2)
    return float(x), float(y), float(x + w), float(y + h)


def make_random_images(seed: int, images: int = 12, *, tied: bool = False) -> list[Evidence]:
    """Images with moved, missing and spurious detections; some are empty, and one category is never a target."""
    rng = np.random.default_rng(seed)
    evidence = []
    for k in range(images):
        targets = [(str(rng.choice(CATEGORIES[:3])), random_box(rng)) for _ in range(rng.integers(0, 6))]
        detected = []
        for name, box in targets:
            for _ in range(rng.integers(0, 3)):
                x0, y0, x1, y1 = np.clip(np.array(box) + rng.normal(0, 0.02, 4), 0, 1)
                moved = (min(x0, x1), min(y0, y1), max(x0, x1) + 0.01, max(y0, y1) + 0.01)
                detected.append((name, float(rng.uniform()), tuple(float(c) for c in moved)))
        for _ in range(rng.integers(0, 4)):
            detected.append((str(rng.choice(CATEGORIES)), float(rng.uniform()), random_box(rng)))
        if tied:
            detected = [(name, max(0.1, round(score, 1)), box) for name, score, box in detected]
        canvas = Canvas(64 + 8 * (k % 3), 64)
        evidence.append(make_image(targets, detected, id=f"s{k:03d}", seed=k % 2, canvas=canvas))
    return evidence


@pytest.fixture
def make() -> Callable[..., Evidence]:
    return make_image


@pytest.fixture
def random_evidence() -> Callable[..., list[Evidence]]:
    return make_random_images


@pytest.fixture
def scorers() -> dict[str, str]:
    return dict(SCORERS)
