"""`make speed`: time and memory of the HTML report of 10 methods x 5,000 samples x 4 seeds, and how fast it opens."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

METHODS, SAMPLES, SEEDS = 10, 5000, 4
MAX_SECONDS, MAX_GIBIBYTES, MAX_OPENING_SECONDS = 60.0, 2.0, 2.0
IMAGE_FILES = 40
"""Different image files of 64 pixels, shared by all images."""
METRICS = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
CATEGORIES = ("dog", "cat", "car", "bus", "apple", "clock", "chair", "bird")
MAX_WAIT_SECONDS = 60.0
WATCH_SCRIPT = """const t = setInterval(() => {
  const row = document.querySelector(".row");
  if (document.querySelector(".strip")) { clearInterval(t); console.log(`opened after ${performance.now()} ms`); }
  else if (row) row.scrollIntoView();
}, 5);"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def write_run(run: Path, methods: int, samples: int, seeds: int) -> None:
    """Write a run folder with results.json and images."""
    rng = np.random.default_rng(3)
    (run / "images").mkdir(parents=True)
    for k in range(IMAGE_FILES):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(run / "images" / f"{k}.png")
    names = [f"method-{k}" for k in range(methods - 2)] + ["ceiling", "floor-shuffled"]
    scenes = [_scene(k, rng) for k in range(samples)]
    own = names[:-2]
    head = {
        "schema": "layoutmark-results-1", "name": "speed", "protocol": {"hash": "0" * 16, "parts": {}},
        "suite": {"name": "speed", "version": "1", "title": "Drawn by chance", "digest": "0" * 64, "licence": "none",
                  "categories": list(CATEGORIES), "samples": samples, "notes": []},
        "stack": {"name": "none", "version": "1", "title": "None", "digest": "0" * 64, "scorers": {}},
        "seeds": list(range(seeds)), "left_out": {}, "ties": {m: [[own[0]], own[1:]] for m in METRICS},
        "methods": [_method(n, samples * seeds) for n in names],
        "metrics": [{"name": m, "variant": m, "title": m, "unit": "share", "higher_is_better": True, "low": 0.0,
                     "high": 1.0, "version": "1"} for m in METRICS],
        "rows": [{"method": n, "metric": m, "variant": m, "value": 0.5, "low": 0.4, "high": 0.6,
                  "n": samples * seeds, "of": samples * seeds, "unit": "share", "higher_is_better": True,
                  "unscored": {}} for n in names for m in METRICS],
        "pairs": [{"a": a, "b": b, "metric": m, "difference": 0.1, "low": 0.05, "high": 0.15, "p": 0.001,
                   "p_holm": 0.01, "n": samples * seeds} for i, a in enumerate(own) for b in own[:i] for m in METRICS],
        "samples": scenes, "environment": {"versions": {}}, "times": {},
    }  # fmt: skip
    text = json.dumps(head)
    with (run / "results.json").open("w", encoding="utf-8") as file:
        file.write(text[:-1] + ', "images": [')
        for number, image in enumerate(_images(names, scenes, seeds, rng)):
            file.write((", " if number else "") + json.dumps(image))
        file.write("]}")


def _scene(number: int, rng: np.random.Generator) -> dict[str, Any]:
    count = 1 + number % 7
    corners = rng.uniform(0, 0.6, (count, 2))
    instances = [
        {"id": str(k), "phrase": f"a {CATEGORIES[(number + k) % 8]}", "category": CATEGORIES[(number + k) % 8],
         "box": [round(float(v), 5) for v in (x, y, x + 0.3, y + 0.3)]}
        for k, (x, y) in enumerate(corners)
    ]  # fmt: skip
    return {
        "id": f"speed-{number:05d}", "prompt": " and ".join(i["phrase"] for i in instances), "canvas": [64, 64],
        "instances": instances, "strata": {"count": str(count), "size": ("small", "large")[number % 2],
                                           "overlap": ("none", "some")[number % 3 % 2]},
        "provenance": {}, "true_image": f"images/{number % IMAGE_FILES}.png", "references": {},
    }  # fmt: skip


def _images(names: list[str], scenes: list[dict[str, Any]], seeds: int, rng: np.random.Generator) -> Iterator[Any]:
    for name in names:
        for scene in scenes:
            values = rng.random((seeds, len(METRICS) + 4 * len(scene["instances"])))
            for seed in range(seeds):
                row = [round(float(v), 6) for v in values[seed]]
                parts = {i["id"]: {"miou": row[6 + k]} for k, i in enumerate(scene["instances"])}
                boxes = [[*i["box"], row[6 + k], i["category"]] for k, i in enumerate(scene["instances"])]
                yield {
                    "method": name, "sample": scene["id"], "seed": seed, "status": "ok", "reason": "",
                    "image": f"images/{int(row[0] * IMAGE_FILES)}.png", "notes": {}, "detections": boxes,
                    "scores": dict(zip(METRICS, row[:6], strict=True)), "instances": parts,
                }  # fmt: skip


def _method(name: str, images: int) -> dict[str, Any]:
    counts = {"requested": images, "ok": images, "degenerate": 0, "filtered": 0, "not_applicable": 0, "failed": 0,
              "missing": 0}  # fmt: skip
    kind = "reference" if name in ("ceiling", "floor-shuffled") else "method"
    return {"name": name, "kind": kind, "title": name, "version": "1", "preset": "", "settings": {}, "code": "0" * 64,
            "weights": None, "inputs": ["prompt"], "deviations": [], "counts": counts, "reasons": {}}  # fmt: skip


def time_to_open(page: Path, folder: Path) -> float | None:
    """Seconds from the call of the page to its first row of images in headless Chromium; None without a browser.

    The page is a copy that goes to the samples and says when the first row is there; the page's own content security
    policy would forbid that.
    """
    browser = next((b for b in BROWSERS if shutil.which(b)), None)
    if browser is None:
        return None
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    text = text.replace("<body>", f"<body><script>{WATCH_SCRIPT}</script>", 1)
    copy = page.with_name("watched.html")  # the images lie beside the page
    copy.write_text(text, "utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1280,900",
        f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0", copy.resolve().as_uri(),
    ]  # fmt: skip
    return median(_time_to_open(command) for _ in range(3))


def _time_to_open(command: list[str]) -> float:
    """Seconds that the page logs; the browser stays open until then."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        end = threading.Timer(MAX_WAIT_SECONDS, running.kill)
        end.start()
        for line in running.stderr or ():
            if match := re.search(r"opened after ([\d.]+) ms", line):
                running.kill()
                end.cancel()
                return float(match[1]) / 1000
    raise SystemExit(f"the page's script drew no row within {MAX_WAIT_SECONDS:.0f} s")


def main() -> int:
    """Measure, print, and return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description="Time the HTML report of a large run.")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--keep", type=Path, default=None, help="folder to leave the run in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        runs = options.keep or Path(name)
        write_run(runs / "speed", METHODS, options.samples, SEEDS)
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "layoutmark.cli.main", "report", str(runs / "speed")], check=True,
            env={**os.environ, "LAYOUTMARK_RUNS": str(runs)}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        memory, cpu_seconds = usage.ru_maxrss / 2**20, usage.ru_utime + usage.ru_stime
        page = runs / "speed" / "report" / "index.html"
        size = page.stat().st_size / 2**20
        seconds_to_open = time_to_open(page, Path(name))
    images = METHODS * options.samples * SEEDS
    print(f"report of {images:,} images: {seconds:.1f} s (at most {MAX_SECONDS:.0f}), "
          f"of which {cpu_seconds:.1f} s CPU time, {memory:.2f} GiB (at most {MAX_GIBIBYTES:.0f}), "
          f"page of {size:.1f} MiB")  # fmt: skip
    print(
        "no browser here: not opened"
        if seconds_to_open is None
        else f"opens in {seconds_to_open:.2f} s (at most {MAX_OPENING_SECONDS:.0f})"
    )
    return int(seconds > MAX_SECONDS or memory > MAX_GIBIBYTES or (seconds_to_open or 0.0) > MAX_OPENING_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
