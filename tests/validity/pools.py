"""Images of the miniature world that its own detector looked at: the population that `coverage.py` draws suites from.

Each scene is shown through noise of a strength of its own, so that images differ in difficulty and the detector errs as
it does on pictures that are not quite right.  Needs the miniature stack's detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.evidence import Evidence
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics.ap_table import ApTable, CategoryRows, ap_table
from layoutmark.metrics.matching import best_overlap
from layoutmark.registry import Registry
from layoutmark.score import Status

SEED, SIDE = 7_000_000, 64
"""First seed of the pool's scenes: no suite, no training and no model card draws from there."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Matched detections of all images at IoU 0.5, and each image's mean IoU."""

    table: ApTable
    overlap: Floats


def noisy_scenes(count: int, strength: float) -> Pool:
    """`count` scenes under Gaussian noise of 0 to `strength` grey values of 255, seen by the miniature detector."""
    stack, world = Registry().get_stack("mini"), Registry().get_suite("mini").load()
    detector = Scorers(stack.card, stack.folder).detector
    pictures, samples = [], []
    for number in range(count):
        scene = world.draw(SEED + number)
        rng = np.random.default_rng(SEED + number)
        noise = rng.normal(size=(SIDE, SIDE, 3)) * strength * rng.random()
        pictures.append(np.clip(scene["pixels"] + noise, 0, 255).astype(np.uint8))
        things = tuple(
            Instance(str(k), t["phrase"], t["category"], Box(*t["box"])) for k, t in enumerate(scene["things"])
        )
        samples.append(Sample(f"{number:06d}", str(number), Layout(Canvas(SIDE, SIDE), things)))
    found = detector.detect(pictures)
    evidence = [Evidence(s, 0, Status.OK, "", d) for s, d in zip(samples, found, strict=True)]
    overlap = [best_overlap(s.layout, d).mean() for s, d in zip(samples, found, strict=True)]
    return Pool(ap_table(evidence), np.array(overlap))


def drawn(pool: Pool, picks: npt.NDArray[np.intp]) -> Pool:
    """The images at `picks`, each an image of its own even where one is picked twice."""
    order = np.argsort(picks, kind="stable")
    ordered = picks[order]
    categories = {}
    for name, rows in pool.table.categories.items():
        first, last = (np.searchsorted(ordered, rows.image, side=side) for side in ("left", "right"))
        copies = last - first
        row = np.repeat(np.arange(len(rows.image)), copies)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(copies) - copies, copies)
        hit = rows.hit[:, row]
        kept = int(np.flatnonzero(hit.any(axis=0)).max(initial=-1)) + 1
        image = order[np.repeat(first, copies) + nth].astype(np.intp)
        categories[name] = CategoryRows(
            image[:kept], hit[:, :kept], rows.counted[:, row[:kept]], rows.targets[picks], None
        )
    return Pool(ApTable(len(picks), pool.table.thresholds, categories), pool.overlap[picks])
