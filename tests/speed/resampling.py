"""`make speed`: AP under 2,000 resamples of a set of COCO val2017's size, from matches made once.

python tests/speed/resampling.py [--images N]

5,000 images with 36,000 targets of 80 categories and 500,000 detections, on one core.  Three of the resamples are
compared with pycocotools, given every copy of an image as an image of its own.
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
from layoutmark.metrics.ap_table import ap_table, resampled_ap
from layoutmark.metrics.coco import coco_ap
from layoutmark.score import Status
from layoutmark.statistics import bootstrap_weights, half_sample_weights

IMAGES, TARGETS, DETECTIONS, CATEGORIES, RESAMPLES = 5_000, 36_000, 500_000, 80, 2_000
MAX_SECONDS, MAX_DIFFERENCE, COMPARED_RESAMPLES = 20.0, 1e-9, 3


def make_evidence(images: int) -> list[Evidence]:
    """Targets of random categories; most are detected by shifted boxes, and far more detections hit nothing."""
    rng = np.random.default_rng(0)
    evidence = []
    for number in range(images):
        count = TARGETS // IMAGES + (number % IMAGES < TARGETS % IMAGES)
        low = rng.uniform(0.0, 0.7, (count, 2))
        target_boxes = np.concatenate([low, low + rng.uniform(0.05, 0.3, (count, 2))], axis=1)
        names = rng.integers(0, CATEGORIES, count)
        instances = tuple(
            Instance(str(k), "x", f"{name:02d}", Box(*map(float, box)))
            for k, (name, box) in enumerate(zip(names, target_boxes, strict=True))
        )
        hits = rng.random(count) < 0.8
        moved = target_boxes[hits] + rng.normal(0.0, 0.01, (int(hits.sum()), 4))
        stray_count = DETECTIONS // IMAGES - len(moved)
        stray_corners = rng.uniform(0.0, 0.6, (stray_count, 2))
        strays = np.concatenate([stray_corners, stray_corners + rng.uniform(0.05, 0.4, (stray_count, 2))], axis=1)
        labels = [f"{k:02d}" for k in (*names[hits], *rng.integers(0, CATEGORIES, stray_count))]
        scores = np.concatenate([rng.beta(4, 2, len(moved)), rng.beta(1, 6, stray_count)]).clip(0.001)
        order = np.argsort(-scores, kind="stable")
        boxes = np.concatenate([moved, strays]).clip(0.0, 1.0)[order]
        sample = Sample(f"{number:06d}", str(number), Layout(Canvas(640, 480), instances))
        detections = Detections(boxes, scores[order], tuple(labels[k] for k in order))
        evidence.append(Evidence(sample, 0, Status.OK, "", detections))
    return evidence


def repeat_images(evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]) -> list[Evidence]:
    """Each image as often as its weight, every copy as an image of its own, copies side by side."""
    return [
        dataclasses.replace(e, sample=dataclasses.replace(e.sample, id=f"{e.sample.id}-{copy}"))
        for e, count in zip(evidence, weights, strict=True)
        for copy in range(int(count))
    ]


def main() -> int:
    """Measure, print, and return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description="Time AP under resampling at COCO's size.")
    parser.add_argument("--images", type=int, default=IMAGES)
    images = parser.parse_args().images
    evidence = make_evidence(images)
    prompts = [e.sample.prompt for e in evidence]
    begin = time.perf_counter()
    table = ap_table(evidence)
    match_seconds = time.perf_counter() - begin
    max_cpu_seconds, max_difference = 0.0, 0.0
    for name, weights in (
        ("halves", half_sample_weights(prompts, RESAMPLES, 1)),
        ("resamples", bootstrap_weights(prompts, RESAMPLES, 1)),
    ):
        begin, cpu_seconds = time.perf_counter(), time.process_time()
        values = resampled_ap(table, weights)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_seconds
        max_cpu_seconds = max(max_cpu_seconds, cpu_seconds)
        for k in range(COMPARED_RESAMPLES):
            reference = coco_ap(repeat_images(evidence, weights[k]), (0.5,))
            assert reference is not None
            max_difference = max(max_difference, abs(reference - float(values[k])))
        print(f"{len(values):,} {name}: {seconds:.1f} s, {cpu_seconds:.1f} s CPU time (at most {MAX_SECONDS:.0f})")
    targets, detection_count = (
        sum(map(len, x))
        for x in ([e.sample.layout.instances for e in evidence], [e.detections or () for e in evidence])
    )
    print(
        f"{images:,} images, {targets:,} targets, {detection_count:,} detections; matched once in {match_seconds:.1f} s"
    )
    print(
        f"greatest difference from pycocotools on {2 * COMPARED_RESAMPLES} of them: {max_difference:.1e} "
        f"(at most {MAX_DIFFERENCE:.0e})"
    )
    print(f"{os.cpu_count()} cores")
    return int(max_cpu_seconds > MAX_SECONDS or max_difference > MAX_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
