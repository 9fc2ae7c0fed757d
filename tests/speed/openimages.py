"""`make speed`: synthetic tables of Open Images' validation size (41,620 images, 303,980 boxes) built into a suite.

python tests/speed/openimages.py [--images N]
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

import numpy as np

from layoutmark.registry import Registry
from layoutmark.suites import load_built_suite, save_built_suite

IMAGES, BOXES = 41_620, 303_980
MAX_GIBIBYTES = 2.0
"""Bound on the memory of the whole process."""
SUITE = "openimages"
CSV_HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)


def write_tables(folder: Path, images: int) -> None:
    """Write boxes of 600 classes (one in five of a group), ten verified labels per image, and image sizes."""
    rng = np.random.default_rng(0)
    labels = [f"/m/{k:05x}" for k in range(600)]
    with (folder / "validation-annotations-bbox.csv").open("w", encoding="utf-8") as file:
        file.write(CSV_HEADER + "\n")
        for number in range(BOXES * images // IMAGES):
            x0, x1, y0, y1 = (*sorted(rng.random(2)), *sorted(rng.random(2)))
            flags = f"{number % 2},0,{int(number % 5 == 0)},0,0"
            corners = f"{x0:.6f},{x1:.6f},{y0:.6f},{y1:.6f}"
            file.write(f"{number % images:016x},xclick,{labels[int(rng.integers(600))]},1,{corners},{flags}\n")
    classes = "".join(f"{label},Thing {k}\n" for k, label in enumerate(labels))
    (folder / "class-descriptions-boxable.csv").write_text(classes, "utf-8")
    tree = {"LabelName": "/m/root", "Subcategory": [{"LabelName": label} for label in labels]}
    (folder / "bbox_labels_600_hierarchy.json").write_text(json.dumps(tree), "utf-8")
    with (folder / "validation-annotations-human-imagelabels-boxable.csv").open("w", encoding="utf-8") as file:
        file.write("ImageID,Source,LabelName,Confidence\n")
        for number in range(10 * images):
            file.write(f"{number // 10:016x},verification,{labels[int(rng.integers(600))]},{number % 2}\n")
    sizes = "".join(f"{number:016x},1024,768\n" for number in range(images))
    (folder / "validation-sizes.csv").write_text("image_id,image_w,image_h\n" + sizes, "utf-8")


def main() -> int:
    """Measure, print, and return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description="Time the building of a suite of Open Images' validation size.")
    parser.add_argument("--images", type=int, default=IMAGES)
    images = parser.parse_args().images
    entry = Registry().get_suite(SUITE)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder), Path(folder) / "out"
        write_tables(source, images)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        save_built_suite(entry.load().build_suite(SUITE, source), entry.suite, out)
        build_seconds, build_cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        begin = time.perf_counter()
        samples = load_built_suite(out).samples
        open_seconds = time.perf_counter() - begin
    instances = sum(len(s.layout.instances) for s in samples)
    print(f"{len(samples):,} samples, {instances:,} instances: build {build_seconds:.1f} s, open {open_seconds:.1f} s")
    print(f"CPU time of the build {build_cpu_seconds:.1f} s (load {os.getloadavg()[0]:.1f})")
    print(f"memory of the build {memory:.2f} GiB (at most {MAX_GIBIBYTES})")
    return int(memory > MAX_GIBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
