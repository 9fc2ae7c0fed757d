"""Drift: outputs of the scorers on a few true images now, compared with those stored when the stack was made.

A stack's folder `canaries` holds the images and `canaries.json`: for each image detections (also those of a second
detector), masks, quality and the LPIPS from the first image; vectors of the images and of two texts; the categories the
second detector was given; and package versions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.atomic import write_bytes, write_text
from layoutmark.doctor.context import DoctorCheck, DoctorContext, is_scalar_scorer
from layoutmark.doctor.mask_checks import mask_iou
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.layout import Mask
from layoutmark.metrics.matching import MIN_CONFIDENCE
from layoutmark.provenance import digest_pixels, package_versions
from layoutmark.registry.scorer_engines import CLIP, DETECTOR, LPIPS, QUALITY, SECOND_DETECTOR, SEGMENTER
from layoutmark.store.images import encode_png

FOLDER, FILE, FORMAT = "canaries", "canaries.json", "layoutmark-canaries-1"
MAX_STORED_CANARIES = 4
DETECTION_KEYS = {"detections": DETECTOR, SECOND_DETECTOR: SECOND_DETECTOR}
"""Keys of an image's detections, and the role each comes from."""
SCALAR_ROLE_PREFIXES = (QUALITY, LPIPS)
"""Prefixes of the roles that give one number per image."""
TEXTS = ("a red pizza", "a photo of a dog on the grass")
# Other hardware or another build of torch differs by 1e-5 or less; another resize, activation or weight by far more.
MAX_CORNER_DRIFT = 0.01
"""As a share of the canvas."""
MAX_CONFIDENCE_DRIFT = 0.02
MAX_COSINE_DRIFT = 1e-3
MAX_SCALAR_DRIFT = 0.01
MAX_MASK_DRIFT = 0.02
"""As 1 - IoU."""


def check_drift(context: DoctorContext) -> tuple[bool, str]:
    """Check that the scorers give the outputs stored for the canaries; passes if none are stored."""
    folder = context.entry.folder / FOLDER
    if not (folder / FILE).is_file():
        return True, f"nothing is stored; to notice drift later: {_store_command(context)}"
    stored = json.loads((folder / FILE).read_text("utf-8"))
    if stored.get("format") != FORMAT:
        raise LayoutmarkError(
            f"{FOLDER}/{FILE}", found=f"format {stored.get('format')!r}", expected=FORMAT,
            do=f"Store the canaries again: {_store_command(context)}",
        )  # fmt: skip
    changed_roles = sorted(k for k, d in context.scorers.digests().items() if stored["scorers"].get(k) != d)
    if changed_roles:
        return False, f"stored for other weights of {', '.join(changed_roles)}: {_store_command(context)}"
    images = [_read_image(folder, entry) for entry in stored["pictures"]]
    current = _scorer_outputs(context, images, stored.get("asked", ()))
    largest, problems = _compare_outputs(stored, current)
    changed_versions = [
        f"{package} {version} to {current['versions'].get(package, 'none')}"
        for package, version in stored["versions"].items()
        if current["versions"].get(package) != version
    ]
    detail = "largest drift: " + ", ".join(f"{k} {v:.1e}" for k, v in largest.items())
    detail += f"; {', '.join(problems)}" if problems else ""
    detail += f" (since then: {', '.join(changed_versions)})" if changed_versions else ""
    return not problems, detail


def _store_command(context: DoctorContext) -> str:
    return f"layoutmark doctor --stack {context.entry.name} --store-canaries"


def store_canaries(context: DoctorContext) -> Path:
    """Write the stack's folder `canaries` and return its JSON file.  Raises LayoutmarkError without true images."""
    folder = context.entry.folder / FOLDER
    images = context.canary_images[:MAX_STORED_CANARIES]
    for number, image in enumerate(images):
        write_bytes(folder / f"{number}.png", encode_png(image))
    stored_canaries = context.canaries[:MAX_STORED_CANARIES]
    categories = sorted({i.category for sample, _ in stored_canaries for i in sample.layout.instances})
    outputs = _scorer_outputs(context, images, categories)
    for number, entry in enumerate(outputs["pictures"]):
        entry["file"] = f"{number}.png"
    write_text(folder / FILE, _to_json(outputs))
    return folder / FILE


def _to_json(outputs: Mapping[str, Any]) -> str:
    """Return JSON with one line per image and vector: compact, and a diff shows what changed."""
    simple_values = {k: v for k, v in outputs.items() if k not in ("pictures", "vectors")}
    lines = [f" {json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in sorted(simple_values.items())]
    images = ",\n".join(f"  {json.dumps(entry, sort_keys=True)}" for entry in outputs["pictures"])
    vectors = ",\n".join(
        f"  {json.dumps(k)}: [\n" + ",\n".join(f"   {json.dumps(v)}" for v in rows) + "\n  ]"
        for k, rows in sorted(outputs["vectors"].items())
    )
    members = [*lines, f' "pictures": [\n{images}\n ]', f' "vectors": {{\n{vectors}\n }}']
    return "{\n" + ",\n".join(members) + "\n}\n"


def _compare_outputs(stored: Mapping[str, Any], current: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """Return the largest difference of each kind, and sentences about those beyond their limit."""
    largest: dict[str, float] = {}
    problems: list[str] = []
    for number, (before, after) in enumerate(zip(stored["pictures"], current["pictures"], strict=True)):
        changed_labels = _changed_labels(before, after)
        problems += [f"image {number}: {change}" for change in changed_labels]
        if changed_labels:
            continue
        for kind, difference in _image_differences(before, after):
            largest[kind] = max(largest.get(kind, 0.0), difference)
    for kind, vectors in stored["vectors"].items():
        a, b = np.array(vectors), np.array(current["vectors"][kind])
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        largest[f"{kind} cosine"] = float((1 - (a * b).sum(1) / norms).max())
    problems += [f"{k} beyond {_max_drift(k)}" for k, v in largest.items() if v > _max_drift(k)]
    return largest, problems


def _changed_labels(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    changes = []
    for key, role in DETECTION_KEYS.items():
        if key in before:
            old_labels, new_labels = ([d[5] for d in entry[key]] for entry in (before, after))
            if old_labels != new_labels:
                change = f"{', '.join(new_labels) or 'nothing'} in place of {', '.join(old_labels)}"
                changes.append(change + _role_suffix(role))
    return changes


def _image_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return (kind, difference) pairs of an image whose detections have the same labels."""
    differences = []
    for key, role in DETECTION_KEYS.items():
        if key in before:
            difference = np.abs(_detection_array(before[key]) - _detection_array(after[key]))
            differences.append((f"corner{_role_suffix(role)}", float(difference[:, :4].max(initial=0))))
            differences.append((f"confidence{_role_suffix(role)}", float(difference[:, 4].max(initial=0))))
    if "masks" in before:
        pairs = zip(before["masks"], after["masks"], strict=True)
        ious = [mask_iou(Mask(*a).to_array(), Mask(*b).to_array()) for a, b in pairs]
        differences.append(("mask", max([0.0, *(1.0 - iou for iou in ious)])))
    for key in (k for k in before if k.startswith(SCALAR_ROLE_PREFIXES)):
        differences.append((key, abs(before[key] - after[key])))
    return differences


def _role_suffix(role: str) -> str:
    return "" if role == DETECTOR else f" ({role})"


def _max_drift(kind: str) -> float:
    """Return the largest difference of a kind that does not count as drift."""
    limits = {
        "corner": MAX_CORNER_DRIFT, "confidence": MAX_CONFIDENCE_DRIFT, "mask": MAX_MASK_DRIFT,
        **dict.fromkeys(SCALAR_ROLE_PREFIXES, MAX_SCALAR_DRIFT),
    }  # fmt: skip
    return next((limit for prefix, limit in limits.items() if kind.startswith(prefix)), MAX_COSINE_DRIFT)


def _detection_array(detections: list[list[Any]]) -> np.ndarray[Any, Any]:
    """Return corners and confidence as an array (n, 5)."""
    return np.array([d[:5] for d in detections], dtype=np.float64).reshape(-1, 5)


def _scorer_outputs(context: DoctorContext, images: list[Any], categories: Sequence[str]) -> dict[str, Any]:
    """Return the scorers' outputs in the stored format; `categories` are given to a second detector."""
    entries: list[dict[str, Any]] = [{"sha256": digest_pixels(i)} for i in images]
    vectors: dict[str, Any] = {}
    roles = context.scorers.filled_roles()
    if SECOND_DETECTOR in roles:
        min_confidence = context.min_confidence(SECOND_DETECTOR)
        second_detections = context.scorers.second_detections(images, categories)
        for entry, detections in zip(entries, second_detections, strict=True):
            entry[SECOND_DETECTOR] = _detection_rows(detections, min_confidence)
    if DETECTOR in roles:
        for entry, detections in zip(entries, context.scorers.detector.detect(images), strict=True):
            entry["detections"] = _detection_rows(detections, MIN_CONFIDENCE)
        if SEGMENTER in roles:
            boxes = [_detection_array(entry["detections"])[:, :4] for entry in entries]
            for entry, masks in zip(entries, context.scorers.segmenter.segment(images, boxes), strict=True):
                entry["masks"] = [[mask.height, mask.width, mask.counts] for mask in masks]
    for role, score_fn in context.image_scorers().items():
        values = score_fn(images)
        if is_scalar_scorer(role):
            for entry, value in zip(entries, values, strict=True):
                entry[role] = round(float(value[0]), 5)
        else:
            vectors[role] = values.round(5).tolist()
    for role in context.scorers.roles(CLIP):
        name = "text" if role == CLIP else f"{role} text"
        text_vectors = context.scorers.text_encoder(role).texts(TEXTS).vectors
        vectors[name] = text_vectors.astype(np.float64).round(5).tolist()
    return {
        "format": FORMAT, "scorers": context.scorers.digests(), "versions": package_versions(), "texts": list(TEXTS),
        "pictures": entries, "vectors": vectors,
        **({"asked": list(categories)} if SECOND_DETECTOR in roles else {}),
    }  # fmt: skip


def _detection_rows(detections: Detections, min_confidence: float) -> list[list[Any]]:
    """Return corners, confidence and category of each detection of at least `min_confidence`."""
    confident = [k for k in range(len(detections)) if detections.scores[k] >= min_confidence]
    rows = [
        [*detections.boxes[k].round(5).tolist(), round(float(detections.scores[k]), 5), detections.labels[k]]
        for k in confident
    ]
    # Sorted by position, because two detections of almost equal confidence may swap places.
    return sorted(rows, key=lambda r: (r[5], [round(v, 1) for v in r[:4]]))


def _read_image(folder: Path, entry: Mapping[str, Any]) -> Any:
    with Image.open(folder / entry["file"]) as image:
        pixels = np.asarray(image.convert("RGB"))
    if digest_pixels(pixels) != entry["sha256"]:
        raise LayoutmarkError(
            f"{FOLDER}/{entry['file']}", found="pixels that differ from those stored", expected="the stored image",
            do="Restore the file.",
        )  # fmt: skip
    return pixels


CHECKS: dict[str, DoctorCheck] = {"scorers match stored outputs": check_drift}
