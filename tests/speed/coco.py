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

IMAGES, THINGS = 5_000, 36_781
BUILD, OPEN, GIBIBYTES = 30.0, 2.0, 1.5
"""Most seconds on one core, and most memory of the whole process."""
SUITE = "coco-val2017"


def synthetic(images: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Annotation files of 640 x 480 pictures: outlines of 24 corners, five captions each."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    things = []
    for number in range(THINGS * images // IMAGES):
        w, h = rng.uniform(10, 300), rng.uniform(10, 300)
        x, y = rng.uniform(0, 640 - w), rng.uniform(0, 480 - h)
        reach = rng.uniform(0.6, 1.0, 24)
        outline = np.stack([x + w / 2 * (1 + reach * np.cos(angles)), y + h / 2 * (1 + reach * np.sin(angles))], 1)
        things.append({
            "id": number, "image_id": number % images, "category_id": int(rng.integers(80)), "iscrowd": 0,
            "bbox": [round(v, 2) for v in (x, y, w, h)], "segmentation": [outline.round(2).ravel().tolist()],
        })  # fmt: skip
    pictures = [{"id": n, "width": 640, "height": 480, "license": 4} for n in range(images)]
    said = [{"id": n, "image_id": n % images, "caption": "A thing beside a thing."} for n in range(5 * images)]
    categories = [{"id": n, "name": f"thing {n}"} for n in range(80)]
    return {"images": pictures, "annotations": things, "categories": categories}, {"annotations": said}


def main() -> int:
    """Time, print, judge."""
    parser = argparse.ArgumentParser(description="Time the building and opening of a suite of COCO's size.")
    parser.add_argument("--images", type=int, default=IMAGES)
    images = parser.parse_args().images
    entry = Registry().get_suite(SUITE)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder), Path(folder) / "out"
        for name, data in zip(("instances", "captions"), synthetic(images), strict=True):
            (source / f"{name}_val2017.json").write_text(json.dumps(data), "utf-8")
        begun, busy = time.perf_counter(), time.process_time()
        save_built_suite(entry.load().build_suite(SUITE, source), entry.suite, out)
        built, spent = time.perf_counter() - begun, time.process_time() - busy
        begun, busy = time.perf_counter(), time.process_time()
        samples = len(load_built_suite(out).samples)
        opened, used = time.perf_counter() - begun, time.process_time() - busy
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{samples:,} samples: build {built:.1f} s (at most {BUILD:.0f}), open {opened:.2f} s (at most {OPEN:.0f})")
    print(f"of these the processor worked {spent:.1f} s and {used:.2f} s (load {os.getloadavg()[0]:.1f})")
    print(f"memory {memory:.2f} GiB (at most {GIBIBYTES}), {os.cpu_count()} cores")
    return int(built > BUILD or opened > OPEN or memory > GIBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
