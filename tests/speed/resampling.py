"""`make speed`: AP under 2,000 resamples of a set of COCO val2017's size, from matches made once.

python tests/speed/resampling.py [--images N]

5,000 images with 36,000 targets of 80 categories and 500,000 detections; the best of the machine's cores is one core.
Three of the resamples are asked of pycocotools too, with every copy of an image an image of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics.ap_table import ap_draws, ap_table
from layoutmark.metrics.coco import coco_ap
from layoutmark.score import Status
from layoutmark.statistics import cluster_weights, half_weights

IMAGES, THINGS, FOUND, CATEGORIES, DRAWS = 5_000, 36_000, 500_000, 80, 2_000
SECONDS, MOST, ASKED = 20.0, 1e-9, 3


def synthetic(images: int) -> list[Evidence]:
    """Targets of random categories; most are found by moved boxes, and far more detections hit nothing."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(images):
        count = THINGS // IMAGES + (number % IMAGES < THINGS % IMAGES)
        low = rng.uniform(0.0, 0.7, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(0.05, 0.3, (count, 2))], axis=1)
        names = rng.integers(0, CATEGORIES, count)
        things = tuple(
            Instance(str(k), "x", f"{name:02d}", Box(*map(float, box)))
            for k, (name, box) in enumerate(zip(names, boxes, strict=True))
        )
        hits = rng.random(count) < 0.8
        moved = boxes[hits] + rng.normal(0.0, 0.01, (int(hits.sum()), 4))
        rest = FOUND // IMAGES - len(moved)
        stray = rng.uniform(0.0, 0.6, (rest, 2))
        strays = np.concatenate([stray, stray + rng.uniform(0.05, 0.4, (rest, 2))], axis=1)
        labels = [f"{k:02d}" for k in (*names[hits], *rng.integers(0, CATEGORIES, rest))]
        scores = np.concatenate([rng.beta(4, 2, len(moved)), rng.beta(1, 6, rest)]).clip(0.001)
        order = np.argsort(-scores, kind="stable")
        seen = np.concatenate([moved, strays]).clip(0.0, 1.0)[order]
        sample = Sample(f"{number:06d}", str(number), Layout(Canvas(640, 480), things))
        detections = Detections(seen, scores[order], tuple(labels[k] for k in order))
        found.append(Evidence(sample, 0, Status.OK, "", detections))
    return found


def copied(evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]) -> list[Evidence]:
    """Each image as often as its weight says, every copy an image of its own, copies side by side."""
    return [
        dataclasses.replace(e, sample=dataclasses.replace(e.sample, id=f"{e.sample.id}-{copy}"))
        for e, times in zip(evidence, weights, strict=True)
        for copy in range(int(times))
    ]


def main() -> int:
    """Time, print, judge."""
    parser = argparse.ArgumentParser(description="Time AP under resampling at COCO's size.")
    parser.add_argument("--images", type=int, default=IMAGES)
    images = parser.parse_args().images
    evidence = synthetic(images)
    prompts = [e.sample.prompt for e in evidence]
    begun = time.perf_counter()
    table = ap_table(evidence)
    matched = time.perf_counter() - begun
    slowest, most = 0.0, 0.0
    for name, weights in (
        ("halves", half_weights(prompts, DRAWS, 1)),
        ("resamples", cluster_weights(prompts, DRAWS, 1)),
    ):
        begun, worked = time.perf_counter(), time.process_time()
        values = ap_draws(table, weights)
        taken, worked = time.perf_counter() - begun, time.process_time() - worked
        slowest = max(slowest, worked)
        for k in range(ASKED):
            asked = coco_ap(copied(evidence, weights[k]), (0.5,))
            assert asked is not None
            most = max(most, abs(asked - float(values[k])))
        print(
            f"{len(values):,} {name}: {taken:.1f} s, of which this core worked {worked:.1f} s (at most {SECONDS:.0f})"
        )
    targets, seen = (
        sum(map(len, x))
        for x in ([e.sample.layout.instances for e in evidence], [e.detections or () for e in evidence])
    )
    print(f"{images:,} images, {targets:,} targets, {seen:,} detections; matched once in {matched:.1f} s")
    print(f"greatest difference from pycocotools on {2 * ASKED} of them: {most:.1e} (at most {MOST:.0e})")
    print(f"{os.cpu_count()} cores")
    return int(slowest > SECONDS or most > MOST)


if __name__ == "__main__":
    sys.exit(main())
