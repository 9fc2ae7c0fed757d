"""`make speed`: a synthetic file of COCO val2017's size (5,000 images, 36,781 boxes) built into a suite and opened.

python tests/speed/coco.py [--images N]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from layoutmark.registry import Registry
from layoutmark.suites import load_built_suite, save_built_suite

IMAGES, BOXES = 5_000, 36_781
MAX_BUILD_SECONDS, MAX_OPEN_SECONDS, MAX_GIBIBYTES = 30.0, 2.0, 1.5
"""Bounds on one core, and on the memory of the whole process."""
SUITE = "coco-val2017"


def write_annotations(images: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Content of the annotation files: images of 640 x 480 with outlines of 24 corners and five captions each."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    annotations = []
    for number in range(BOXES * images // IMAGES):
        w, h = rng.uniform(10, 300), rng.uniform(10, 300)
        x, y = rng.uniform(0, 640 - w), rng.uniform(0, 480 - h)
        radii = rng.uniform(0.6, 1.0, 24)
        outline = np.stack([x + w / 2 * (1 + radii * np.cos(angles)), y + h / 2 * (1 + radii * np.sin(angles))], 1)
        annotations.append({
            "id": number, "image_id": number % images, "category_id": int(rng.integers(80)), "iscrowd": 0,
            "bbox": [round(v, 2) for v in (x, y, w, h)], "segmentation": [outline.round(2).ravel().tolist()],
        })  # fmt: skip
    image_records = [{"id": n, "width": 640, "height": 480, "license": 4} for n in range(images)]
    captions = [{"id": n, "image_id": n % images, "caption": "A thing beside a thing."} for n in range(5 * images)]
    categories = [{"id": n, "name": f"thing {n}"} for n in range(80)]
    return {"images": image_records, "annotations": annotations, "categories": categories}, {"annotations": captions}


def main() -> int:
    """Measure, print, and return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description="Time the building and opening of a suite of COCO's size.")
    parser.add_argument("--images", type=int, default=IMAGES)
    images = parser.parse_args().images
    entry = Registry().get_suite(SUITE)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder), Path(folder) / "out"
        for name, data in zip(("instances", "captions"), write_annotations(images), strict=True):
            (source / f"{name}_val2017.json").write_text(json.dumps(data), "utf-8")
        begin, begin_cpu = time.perf_counter(), time.process_time()
        save_built_suite(entry.load().build_suite(SUITE, source), entry.suite, out)
        build_seconds, build_cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
        begin, begin_cpu = time.perf_counter(), time.process_time()
        samples = len(load_built_suite(out).samples)
        open_seconds, open_cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{samples:,} samples: build {build_seconds:.1f} s (at most {MAX_BUILD_SECONDS:.0f}), "
        f"open {open_seconds:.2f} s (at most {MAX_OPEN_SECONDS:.0f})"
    )
    print(f"CPU time {build_cpu_seconds:.1f} s and {open_cpu_seconds:.2f} s (load {os.getloadavg()[0]:.1f})")
    print(f"memory {memory:.2f} GiB (at most {MAX_GIBIBYTES}), {os.cpu_count()} cores")
    return int(build_seconds > MAX_BUILD_SECONDS or open_seconds > MAX_OPEN_SECONDS or memory > MAX_GIBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
