"""Images of the miniature world with detections: the population from which `coverage.py` draws suites.

Each scene has noise of a different strength, so that images differ in difficulty and the detector makes errors as on
imperfect images.  Needs the miniature stack's detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.evidence import Evidence
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics.ap_table import ApTable, CategoryRows, ap_table
from layoutmark.metrics.matching import matched_ious
from layoutmark.registry import Registry
from layoutmark.score import Status

SEED, SIDE = 7_000_000, 64
"""First seed of the pool scenes; suites, training and model cards use other ranges."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Matched detections of all images at IoU 0.5, and the mean IoU of each image."""

    table: ApTable
    overlap: Floats


def noisy_scenes(count: int, strength: float) -> Pool:
    """`count` scenes with Gaussian noise of up to `strength` grey levels (of 255), and their detections."""
    stack, world = Registry().get_stack("mini"), Registry().get_suite("mini").load()
    detector = Scorers(stack.card, stack.folder).detector
    images, samples = [], []
    for number in range(count):
        scene = world.draw(SEED + number)
        rng = np.random.default_rng(SEED + number)
        noise = rng.normal(size=(SIDE, SIDE, 3)) * strength * rng.random()
        images.append(np.clip(scene["pixels"] + noise, 0, 255).astype(np.uint8))
        things = tuple(
            Instance(str(k), t["phrase"], t["category"], Box(*t["box"])) for k, t in enumerate(scene["things"])
        )
        samples.append(Sample(f"{number:06d}", str(number), Layout(Canvas(SIDE, SIDE), things)))
    detections = detector.detect(images)
    evidence = [Evidence(s, 0, Status.OK, "", d) for s, d in zip(samples, detections, strict=True)]
    overlap = [matched_ious(s.layout, d).mean() for s, d in zip(samples, detections, strict=True)]
    return Pool(ap_table(evidence), np.array(overlap))


def resample(pool: Pool, picks: npt.NDArray[np.intp]) -> Pool:
    """The images at `picks`; an image picked twice counts as two images."""
    order = np.argsort(picks, kind="stable")
    ordered = picks[order]
    categories = {}
    for name, rows in pool.table.categories.items():
        first, last = (np.searchsorted(ordered, rows.image_indices, side=side) for side in ("left", "right"))
        copies = last - first
        row = np.repeat(np.arange(len(rows.image_indices)), copies)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(copies) - copies, copies)
        hit = rows.true_positive[:, row]
        used = int(np.flatnonzero(hit.any(axis=0)).max(initial=-1)) + 1
        image = order[np.repeat(first, copies) + nth].astype(np.intp)
        categories[name] = CategoryRows(
            image[:used], hit[:, :used], rows.in_area[:, row[:used]], rows.targets_per_image[picks], None
        )
    return Pool(ApTable(len(picks), pool.table.thresholds, categories), pool.overlap[picks])
