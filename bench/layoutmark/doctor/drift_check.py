"""Drift: what the scorers say of a few true images now, against what they said when the stack was made.

A stack's folder `canaries` holds the pictures and `canaries.json`: detections of each, also of a second detector and
the categories it was asked for, masks, vectors, quality and the LPIPS from the first picture; vectors of two texts, and
the versions of the packages they were made with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.atomic import write_bytes, write_text
from layoutmark.doctor.context import DoctorContext, Question, judges
from layoutmark.doctor.mask_checks import overlap
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.layout import Mask
from layoutmark.metrics.matching import CONFIDENCE
from layoutmark.provenance import digest_pixels, versions
from layoutmark.registry.scorer_engines import CLIP, DETECTOR, LPIPS, SECOND, SEGMENTER
from layoutmark.registry.scorer_engines import QUALITY as QUALITY_ROLE
from layoutmark.store.images import encode

FOLDER, FILE, FORMAT = "canaries", "canaries.json", "layoutmark-canaries-1"
KEPT = 4
BOXES = {"detections": DETECTOR, SECOND: SECOND}
"""Where a picture's detections stand, and whose they are."""
JUDGES = (QUALITY_ROLE, LPIPS)
"""How the roles begin that give a number of a picture."""
TEXTS = ("a red pizza", "a photo of a dog on the grass")
BOX, SCORE, COSINE, QUALITY, MASK = 0.01, 0.02, 1e-3, 0.01, 0.02
"""Largest difference of a corner (of the canvas), a confidence, a cosine, a quality score, and of an IoU from 1.

Another machine or a build of torch differs by 1e-5 or less; another resize, activation or weight by far more.
"""


def _drift(ward: DoctorContext) -> tuple[bool, str]:
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
    now = _said(ward, pictures, stored.get("asked", ()))
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
        seen = [(k, kind) for k, kind in BOXES.items() if k in before]
        labels = {kind: [[d[5] for d in side[k]] for side in (before, after)] for k, kind in seen}
        others = {kind: pair for kind, pair in labels.items() if pair[0] != pair[1]}
        for kind, (was, is_now) in others.items():
            by = "" if kind == DETECTOR else f" ({kind})"
            wrong.append(f"picture {number}: {', '.join(is_now) or 'nothing'} in place of {', '.join(was)}{by}")
        if others:
            continue
        for k, kind in seen:
            apart = np.abs(_numbers(before[k]) - _numbers(after[k]))
            by = "" if kind == DETECTOR else f" ({kind})"
            for what, off in ((f"corner{by}", apart[:, :4]), (f"confidence{by}", apart[:, 4])):
                worst[what] = max(worst.get(what, 0.0), float(off.max(initial=0)))
        if "masks" in before:
            pairs = zip(before["masks"], after["masks"], strict=True)
            off = [1.0 - overlap(Mask(*a).array(), Mask(*b).array()) for a, b in pairs]
            worst["mask"] = max([worst.get("mask", 0.0), *off])
        for kind in (k for k in before if k.startswith(JUDGES)):
            worst[kind] = max(worst.get(kind, 0.0), abs(before[kind] - after[kind]))
    for kind, vectors in stored["vectors"].items():
        a, b = np.array(vectors), np.array(now["vectors"][kind])
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        worst[f"{kind} cosine"] = float((1 - (a * b).sum(1) / lengths).max())
    wrong += [f"{k} beyond {_limit(k)}" for k, v in worst.items() if v > _limit(k)]
    return worst, wrong


def _limit(kind: str) -> float:
    """Largest difference of a kind that is no drift."""
    limits = {"corner": BOX, "confidence": SCORE, "mask": MASK, **dict.fromkeys(JUDGES, QUALITY)}
    return next((limit for start, limit in limits.items() if kind.startswith(start)), COSINE)


def _numbers(detections: list[list[Any]]) -> np.ndarray[Any, Any]:
    return np.array([d[:5] for d in detections], dtype=np.float64).reshape(-1, 5)


def _said(ward: DoctorContext, images: list[Any], asked: Sequence[str]) -> dict[str, Any]:
    """What the scorers say of pictures and texts, in the form that is stored; `asked` are a second one's categories."""
    pictures: list[dict[str, Any]] = [{"sha256": digest_pixels(i)} for i in images]
    vectors: dict[str, Any] = {}
    kinds = ward.scorers.kinds()
    if SECOND in kinds:
        least = ward.least(SECOND)
        for picture, found in zip(pictures, ward.scorers.second_opinion(images, asked), strict=True):
            picture[SECOND] = _rows(found, least)
    if DETECTOR in kinds:
        for picture, found in zip(pictures, ward.scorers.detector.detect(images), strict=True):
            picture["detections"] = _rows(found, CONFIDENCE)
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
    for role in ward.scorers.roles(CLIP):
        name = "text" if role == CLIP else f"{role} text"
        vectors[name] = ward.scorers.text_encoder(role).texts(TEXTS).vectors.astype(np.float64).round(5).tolist()
    return {
        "format": FORMAT, "scorers": ward.scorers.digests(), "versions": versions(), "texts": list(TEXTS),
        "pictures": pictures, "vectors": vectors, **({"asked": list(asked)} if SECOND in kinds else {}),
    }  # fmt: skip


def _rows(found: Detections, least: float) -> list[list[Any]]:
    """Corners, confidence and category of each detection that counts as seen."""
    sure = [k for k in range(len(found)) if found.scores[k] >= least]
    rows = [[*found.boxes[k].round(5).tolist(), round(float(found.scores[k]), 5), found.labels[k]] for k in sure]
    # By place, because two of nearly one confidence may change their order.
    return sorted(rows, key=lambda r: (r[5], [round(v, 1) for v in r[:4]]))


def store_canaries(ward: DoctorContext) -> Path:
    """Write the folder `canaries` of the stack; returns its JSON file.  Raises LayoutmarkError without true images."""
    folder = ward.entry.folder / FOLDER
    images = ward.pictures[:KEPT]
    for number, image in enumerate(images):
        write_bytes(folder / f"{number}.png", encode(image))
    asked = sorted({i.category for sample, _ in ward.shown[:KEPT] for i in sample.layout.instances})
    data = _said(ward, images, asked)
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
