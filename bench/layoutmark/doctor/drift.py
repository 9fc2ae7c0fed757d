"""Drift: what the scorers say of a few true images now, against what they said when the stack was made.

A stack's folder `canaries` holds the pictures and `canaries.json`: detections, masks, vectors and quality of each,
vectors of two texts, and the versions of the packages they were made with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.doctor.masks import overlap
from layoutmark.doctor.ward import Question, Ward, judges
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Mask
from layoutmark.metrics.matching import CONFIDENCE
from layoutmark.provenance import digest_pixels, versions
from layoutmark.shelf.engines import SEGMENTER
from layoutmark.store.atomic import write_bytes, write_text
from layoutmark.store.images import encode

FOLDER, FILE, FORMAT = "canaries", "canaries.json", "layoutmark-canaries-1"
KEPT = 4
TEXTS = ("a red pizza", "a photo of a dog on the grass")
BOX, SCORE, COSINE, QUALITY, MASK = 0.01, 0.02, 1e-3, 0.01, 0.02
"""Largest difference of a corner (of the canvas), a confidence, a cosine, a quality score, and of an IoU from 1.

Another machine or a build of torch differs by 1e-5 or less; another resize, activation or weight by far more.
"""


def _drift(ward: Ward) -> tuple[bool, str]:
    folder = ward.entry.folder / FOLDER
    if not (folder / FILE).is_file():
        return True, "nothing is stored; to notice drift later: layoutmark doctor --store-canaries"
    stored = json.loads((folder / FILE).read_text("utf-8"))
    if stored.get("format") != FORMAT:
        raise LayoutmarkError(
            f"{FOLDER}/{FILE}", found=f"format {stored.get('format')!r}", expected=FORMAT,
            do="Store them anew: layoutmark doctor --store-canaries",
        )  # fmt: skip
    other = sorted(k for k, d in ward.scorers.digests().items() if stored["scorers"].get(k) != d)
    if other:
        return False, f"stored for other weights of {', '.join(other)}: layoutmark doctor --store-canaries"
    pictures = [_read(folder, p) for p in stored["pictures"]]
    now = _said(ward, pictures)
    worst, wrong = _compared(stored, now)
    changed = [f"{k} {v} to {now['versions'].get(k, 'none')}" for k, v in stored["versions"].items()
               if now["versions"].get(k) != v]  # fmt: skip
    said = ", ".join(f"{k} {v:.1e}" for k, v in worst.items())
    told = f"; {', '.join(wrong)}" if wrong else ""
    return not wrong, f"largest drift: {said}{told}" + (f" (since then: {', '.join(changed)})" if changed else "")


def _compared(stored: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """The largest difference of each kind, and what is beyond its limit."""
    worst: dict[str, float] = {}
    wrong: list[str] = []
    for number, (before, after) in enumerate(zip(stored["pictures"], now["pictures"], strict=True)):
        if "detections" in before:
            labels = [d[5] for d in before["detections"]], [d[5] for d in after["detections"]]
            if labels[0] != labels[1]:
                wrong.append(
                    f"picture {number}: {', '.join(labels[1]) or 'nothing'} in place of {', '.join(labels[0])}"
                )
                continue
            apart = np.abs(_numbers(before["detections"]) - _numbers(after["detections"]))
            worst["corner"] = max(worst.get("corner", 0.0), float(apart[:, :4].max(initial=0)))
            worst["confidence"] = max(worst.get("confidence", 0.0), float(apart[:, 4].max(initial=0)))
        if "masks" in before:
            pairs = zip(before["masks"], after["masks"], strict=True)
            off = [1.0 - overlap(Mask(*a).array(), Mask(*b).array()) for a, b in pairs]
            worst["mask"] = max([worst.get("mask", 0.0), *off])
        for kind in (k for k in before if k.startswith("quality")):
            worst[kind] = max(worst.get(kind, 0.0), abs(before[kind] - after[kind]))
    for kind, vectors in stored["vectors"].items():
        a, b = np.array(vectors), np.array(now["vectors"][kind])
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        worst[f"{kind} cosine"] = float((1 - (a * b).sum(1) / lengths).max())
    limits = {"corner": BOX, "confidence": SCORE, "mask": MASK}
    limits |= {k: QUALITY for k in worst if k.startswith("quality")}
    wrong += [f"{k} beyond {limits.get(k, COSINE)}" for k, v in worst.items() if v > limits.get(k, COSINE)]
    return worst, wrong


def _numbers(detections: list[list[Any]]) -> np.ndarray[Any, Any]:
    return np.array([d[:5] for d in detections], dtype=np.float64).reshape(-1, 5)


def _said(ward: Ward, images: list[Any]) -> dict[str, Any]:
    """What the scorers say of pictures and texts, in the form that is stored."""
    pictures: list[dict[str, Any]] = [{"sha256": digest_pixels(i)} for i in images]
    vectors: dict[str, Any] = {}
    kinds = ward.scorers.kinds()
    if "detector" in kinds:
        for picture, found in zip(pictures, ward.scorers.detector.detect(images), strict=True):
            sure = [k for k in range(len(found)) if found.scores[k] >= CONFIDENCE]
            rows = [
                [*found.boxes[k].round(5).tolist(), round(float(found.scores[k]), 5), found.labels[k]] for k in sure
            ]
            # By place, because two of nearly one confidence may change their order.
            picture["detections"] = sorted(rows, key=lambda r: (r[5], [round(v, 1) for v in r[:4]]))
        if SEGMENTER in kinds:
            boxes = [_numbers(picture["detections"])[:, :4] for picture in pictures]
            for picture, cut in zip(pictures, ward.scorers.segmenter.segment(images, boxes), strict=True):
                picture["masks"] = [[mask.height, mask.width, mask.counts] for mask in cut]
    for kind, say in ward.sayings().items():
        values = say(images)
        if judges(kind):
            for picture, value in zip(pictures, values, strict=True):
                picture[kind] = round(float(value[0]), 5)
        else:
            vectors[kind] = values.round(5).tolist()
    if "clip" in kinds:
        vectors["text"] = ward.scorers.clip.texts(TEXTS).vectors.astype(np.float64).round(5).tolist()
    return {
        "format": FORMAT, "scorers": ward.scorers.digests(), "versions": versions(), "texts": list(TEXTS),
        "pictures": pictures, "vectors": vectors,
    }  # fmt: skip


def store_canaries(ward: Ward) -> Path:
    """Write the folder `canaries` of the stack; returns its JSON file.  Raises LayoutmarkError without true images."""
    folder = ward.entry.folder / FOLDER
    images = ward.pictures[:KEPT]
    for number, image in enumerate(images):
        write_bytes(folder / f"{number}.png", encode(image))
    data = _said(ward, images)
    for number, picture in enumerate(data["pictures"]):
        picture["file"] = f"{number}.png"
    # A line for each picture and vector: small, and a change shows where it is.
    head = {k: v for k, v in data.items() if k not in ("pictures", "vectors")}
    lines = [f" {json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in sorted(head.items())]
    pictures = ",\n".join(f"  {json.dumps(p, sort_keys=True)}" for p in data["pictures"])
    vectors = ",\n".join(
        f"  {json.dumps(k)}: [\n" + ",\n".join(f"   {json.dumps(v)}" for v in part) + "\n  ]"
        for k, part in sorted(data["vectors"].items())
    )
    parts = [*lines, f' "pictures": [\n{pictures}\n ]', f' "vectors": {{\n{vectors}\n }}']
    write_text(folder / FILE, "{\n" + ",\n".join(parts) + "\n}\n")
    return folder / FILE


def _read(folder: Path, picture: Mapping[str, Any]) -> Any:
    with Image.open(folder / picture["file"]) as image:
        pixels = np.asarray(image.convert("RGB"))
    if digest_pixels(pixels) != picture["sha256"]:
        raise LayoutmarkError(
            f"{FOLDER}/{picture['file']}", found="other pixels than were stored", expected="the stored picture",
            do="Restore the file.",
        )  # fmt: skip
    return pixels


CHECKS: dict[str, Question] = {"scorers say what they said": _drift}
