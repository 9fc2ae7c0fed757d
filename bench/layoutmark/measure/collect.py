"""Evidence of every row: its pictures as the scorers see them, and what they are held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from layoutmark.api import Pixels, Suite
from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.features import masks
from layoutmark.features.crops import crop, detected_boxes, on_grid
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Instance, Sample
from layoutmark.measure.attribute_phrases import phrasings, vocabularies
from layoutmark.measure.extra_encoders import ExtraEncoders, Seen
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.measure.pixels import colour_shares, contrast, saturation
from layoutmark.measure.references import Place, Vector, masked_crop, true_vectors
from layoutmark.measure.references import reference_vectors as _reference_vectors
from layoutmark.measure.seed_diversity import lpips_diversity
from layoutmark.measure.vocabulary import check_vocabulary
from layoutmark.plan.jobs import Job, jobs
from layoutmark.plan.plan import Plan
from layoutmark.provenance import digest_code, digest_pixels
from layoutmark.score import SCORED, Status
from layoutmark.store import Store

PARTS = {"target": "target-crop", "detected": "detected-crop", "masked": "masked-crop"}
REFERENCES = {
    "reference": "no reference", "whole-reference": "no reference", "masked-reference": "no mask of the reference",
    "true-crop": "no true image",
}  # fmt: skip
"""Parts of a picture that are embedded; references, and why one is not there."""
NOTHING: Mapping[str, Any] = MappingProxyType({})


def collect(
    plan: Plan, suite: Suite, scorers: Scorers, store: Store, progress: Callable[[str, int, int], None],
    told: Counter[str] | None = None,
) -> dict[str, list[Evidence]]:  # fmt: skip
    """Evidence per row, in the order of its jobs.  Needs heavy packages only for features that are not stored.

    `told` counts features that were `stored` and those that were `computed`.
    """
    check_vocabulary(suite, scorers)
    looker = FeatureCache(scorers, store, scorers.digests(), digest_code(Path(__file__).parents[1] / "features"))
    looker.told = looker.told if told is None else told
    vocabulary = vocabularies(suite.samples)
    references, true = _reference_vectors(suite, looker), true_vectors(suite, looker)
    words = {t for s in suite.samples for t in (s.prompt, *(i.phrase for i in s.layout.instances))}
    for instance in (i for s in suite.samples for i in s.layout.instances):
        words.update(text for by_word in phrasings(instance, vocabulary).values() for text in by_word.values())
    texts = looker.texts(sorted(words))
    further = ExtraEncoders.of(suite, looker)
    found: dict[str, list[Evidence]] = {}
    for number, row in enumerate(plan.rows):
        progress(row.name, number, len(plan.rows))
        wanted = jobs(plan, suite, row)
        found[row.name] = _row_evidence(wanted, looker, texts, references, vocabulary, true, further)
    progress("features", len(plan.rows), len(plan.rows))
    return found


def _row_evidence(
    wanted: Sequence[Job],
    looker: FeatureCache,
    texts: Mapping[str, tuple[Vector, bool]],
    references: Mapping[Place, Mapping[str, Vector]],
    vocabulary: Mapping[str, tuple[str, ...]] = NOTHING,
    true: Mapping[str, Mapping[str, Vector]] = NOTHING,
    further: ExtraEncoders | None = None,
) -> list[Evidence]:
    records = looker.store.records([j.key for j in wanted])
    images = {
        j.key: looker.store.image(j.key) for j in wanted if j.key in records and records[j.key]["status"] in SCORED
    }
    pixels = {key: image for key, image in images.items() if image is not None}
    names = {key: digest_pixels(image) for key, image in pixels.items()}
    by_content = {names[key]: image for key, image in pixels.items()}
    detections, quality = looker.detections(by_content), looker.quality(by_content)
    whole = {encoder: looker.embedded(encoder, by_content) for encoder in looker.of_whole}
    more = Seen() if further is None else further.look(by_content)
    diversity = lpips_diversity(wanted, names, by_content, looker)

    crops: dict[tuple[str, str, str], Pixels] = {}
    for job in wanted:
        if job.key not in pixels:
            continue
        seen = detections.get(names[job.key])
        boxes = (
            detected_boxes(job.sample.layout, seen) if seen is not None else [None] * len(job.sample.layout.instances)
        )
        for instance, box in zip(job.sample.layout.instances, boxes, strict=True):
            crops[job.key, instance.id, "target"] = crop(pixels[job.key], instance.box)
            if box is not None:
                crops[job.key, instance.id, "detected"] = crop(pixels[job.key], box)
            if instance.mask is not None:
                crops[job.key, instance.id, "masked"] = masked_crop(pixels[job.key], instance)
    crop_names = {place: digest_pixels(p) for place, p in crops.items()}
    contents = {crop_names[place]: p for place, p in crops.items()}
    vectors = {encoder: looker.embedded(encoder, contents) for encoder in looker.encoders}

    found = []
    for job in wanted:
        record = records.get(job.key)
        if record is None or (record["status"] in SCORED and job.key not in pixels):
            found.append(Evidence(job.sample, job.seed, Status.MISSING, "not in the store"))
            continue
        status, reason = Status(record["status"]), str(record["reason"])
        if job.key not in pixels:
            found.append(Evidence(job.sample, job.seed, status, reason))
            continue
        name = names[job.key]
        held = {f"{encoder}/image": v[name] for encoder, v in whole.items() if v}
        scalars = {"contrast": contrast(pixels[job.key]), "saturation": saturation(pixels[job.key])}
        if quality:
            scalars["clip-iqa"] = quality[name]
        if job.key in diversity:
            scalars["lpips-diversity"] = diversity[job.key]
        held.update(true.get(job.sample.id, {}))
        held.update({} if further is None else further.vectors(job.sample.prompt))
        if texts:
            held["clip/prompt"] = texts[job.sample.prompt][0]
            words = (job.sample.prompt, *(i.phrase for i in job.sample.layout.instances))
            scalars["text-cut"] = sum(texts[w][1] for w in words) / len(words)
        found.append(
            Evidence(
                job.sample,
                job.seed,
                status,
                reason,
                detections=None if (seen := detections.get(name)) is None else _judged(seen, job.sample),
                vectors=held,
                crops=tuple(
                    _crop_evidence(job, i, pixels[job.key], crop_names, vectors, texts, references, vocabulary)
                    for i in job.sample.layout.instances
                ),
                quality={**scalars, **more.quality_of(name)},
                second=more.second_of(name, job.sample),
            )
        )
    return found


def _judged(seen: Detections, sample: Sample) -> Detections:
    """Those that count for a sample, with their masks on the pixels of its canvas, as the masks asked for are."""
    kept, canvas = seen.judged(sample), sample.layout.canvas
    if kept.masks is None:
        return kept
    return replace(kept, masks=tuple(None if m is None else masks.on_canvas(m, canvas) for m in kept.masks))


def _crop_evidence(
    job: Job,
    instance: Instance,
    pixels: Pixels,
    names: Mapping[tuple[str, str, str], str],
    vectors: Mapping[str, Mapping[str, Vector]],
    texts: Mapping[str, tuple[Vector, bool]],
    references: Mapping[Place, Mapping[str, Vector]],
    vocabulary: Mapping[str, tuple[str, ...]],
) -> CropEvidence:
    held = dict(references.get((job.sample.id, instance.id), {}))
    absent: dict[str, str] = {}
    if texts:
        held["clip/phrase"] = texts[instance.phrase][0]
    for encoder, seen in vectors.items():
        if not seen:
            absent |= {f"{encoder}/{k}": f"the stack has no {encoder}" for k in (*PARTS.values(), *REFERENCES)}
            continue
        absent |= {f"{encoder}/{k}": why for k, why in REFERENCES.items() if f"{encoder}/{k}" not in held}
        for kind, part in PARTS.items():
            name = names.get((job.key, instance.id, kind))
            if name is None:
                absent[f"{encoder}/{part}"] = "no mask asked for" if kind == "masked" else "not detected"
            else:
                held[f"{encoder}/{part}"] = seen[name]
    target = crop(pixels, instance.box)
    inside = pixels[:0, 0] if instance.mask is None else pixels[on_grid(instance.mask.array(), *pixels.shape[:2])]
    return CropEvidence(
        instance.id, held, absent, colour_shares(target), target[..., 0].size,
        colour_shares(inside) if len(inside) else {}, len(inside),
        _words(instance, held, texts, vocabulary),
    )  # fmt: skip


def _words(
    instance: Instance,
    held: Mapping[str, Vector],
    texts: Mapping[str, tuple[Vector, bool]],
    vocabulary: Mapping[str, tuple[str, ...]],
) -> dict[str, dict[str, float]]:
    """Attribute -> word -> cosine of the target crop with the phrase so worded; empty without a CLIP."""
    if "clip/target-crop" not in held:
        return {}
    seen = held["clip/target-crop"].astype(np.float64)
    return {
        key: {word: float(seen @ texts[text][0].astype(np.float64)) for word, text in by_word.items()}
        for key, by_word in phrasings(instance, vocabulary).items()
    }
