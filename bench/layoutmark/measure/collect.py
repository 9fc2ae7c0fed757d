"""Evidence for every row of a plan: what the scorers see in its images, and the references these are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from layoutmark.api import Pixels, Suite
from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.features import masks
from layoutmark.features.crops import crop, detected_boxes, resample_mask
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Instance, Sample
from layoutmark.measure.attribute_phrases import attribute_phrases, attribute_vocabularies
from layoutmark.measure.extra_encoders import ExtraEncoders, ExtraFeatures
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.measure.pixels import colour_shares, contrast, saturation
from layoutmark.measure.references import InstanceKey, Vector, masked_crop, reference_vectors, true_image_vectors
from layoutmark.measure.seed_diversity import lpips_diversity
from layoutmark.measure.vocabulary import check_vocabulary
from layoutmark.plan.jobs import Job, list_jobs
from layoutmark.plan.plan import Plan
from layoutmark.provenance import digest_code, digest_pixels
from layoutmark.score import SCORED_STATUSES, Status
from layoutmark.store import Store

CROP_NAMES = {"target": "target-crop", "detected": "detected-crop", "masked": "masked-crop"}
"""Name of each kind of crop in `CropEvidence.vectors`."""
MISSING_REFERENCE_REASONS = {
    "reference": "no reference", "whole-reference": "no reference", "masked-reference": "no mask of the reference",
    "true-crop": "no true image",
}  # fmt: skip
"""References that crops are compared with, and the reason recorded if one is missing."""
Texts = Mapping[str, tuple[Vector, bool]]
"""Unit vector of each text, and whether the text encoder truncated it."""
CropKey = tuple[str, str, str]
"""Job key, instance id, kind of crop."""


@dataclass(frozen=True, slots=True)
class SuiteFeatures:
    """Features of a suite that all its images share.

    `references` are keyed by (sample, instance), `true_images` by sample, both under the names that evidence uses;
    `vocabulary` holds the values of each attribute.
    """

    texts: Texts
    references: Mapping[InstanceKey, Mapping[str, Vector]]
    vocabulary: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    true_images: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict)
    extra_encoders: ExtraEncoders | None = None


@dataclass(frozen=True, slots=True)
class _RowFeatures:
    """Features of the images of one row.  `pixels`, `digests` and `diversity` are keyed by job, the rest by digest."""

    pixels: Mapping[str, Pixels]
    digests: Mapping[str, str]
    detections: Mapping[str, Detections]
    quality: Mapping[str, float]
    image_vectors: Mapping[str, Mapping[str, Vector]]
    extra: ExtraFeatures
    diversity: Mapping[str, float]
    crop_digests: Mapping[CropKey, str]
    crop_vectors: Mapping[str, Mapping[str, Vector]]


def collect_evidence(
    plan: Plan, suite: Suite, scorers: Scorers, store: Store, progress: Callable[[str, int, int], None],
    feature_counts: Counter[str] | None = None,
) -> dict[str, list[Evidence]]:  # fmt: skip
    """Return the evidence of each row of a plan, in the order of its jobs.

    Heavy packages are needed only for features that are not stored.  `feature_counts` is updated with how many features
    were `stored` and how many were `computed`.  Raises LayoutmarkError if the detector lacks a category of the suite.
    """
    check_vocabulary(suite, scorers)
    cache = FeatureCache(scorers, store, scorers.digests(), digest_code(Path(__file__).parents[1] / "features"))
    cache.counts = cache.counts if feature_counts is None else feature_counts
    suite_features = _suite_features(suite, cache)
    evidence: dict[str, list[Evidence]] = {}
    for number, row in enumerate(plan.rows):
        progress(row.name, number, len(plan.rows))
        evidence[row.name] = row_evidence(list_jobs(plan, suite, row), cache, suite_features)
    progress("features", len(plan.rows), len(plan.rows))
    return evidence


def row_evidence(jobs: Sequence[Job], cache: FeatureCache, suite_features: SuiteFeatures) -> list[Evidence]:
    """Return the evidence of each job, in order.  A job without an image has a status and a reason, but no features."""
    records = cache.store.records([j.key for j in jobs])
    images = {
        j.key: cache.store.image(j.key)
        for j in jobs
        if j.key in records and records[j.key]["status"] in SCORED_STATUSES
    }
    pixels = {key: image for key, image in images.items() if image is not None}
    features = _row_features(jobs, pixels, cache, suite_features.extra_encoders)
    return [_job_evidence(job, records.get(job.key), features, suite_features) for job in jobs]


def _suite_features(suite: Suite, cache: FeatureCache) -> SuiteFeatures:
    vocabulary = attribute_vocabularies(suite.samples)
    references, true_images = reference_vectors(suite, cache), true_image_vectors(suite, cache)
    texts = {t for s in suite.samples for t in (s.prompt, *(i.phrase for i in s.layout.instances))}
    for instance in (i for s in suite.samples for i in s.layout.instances):
        for phrases in attribute_phrases(instance, vocabulary).values():
            texts.update(phrases.values())
    text_vectors = cache.text_vectors(sorted(texts))
    return SuiteFeatures(text_vectors, references, vocabulary, true_images, ExtraEncoders.for_suite(suite, cache))


def _row_features(
    jobs: Sequence[Job], pixels: Mapping[str, Pixels], cache: FeatureCache, extra_encoders: ExtraEncoders | None
) -> _RowFeatures:
    digests = {key: digest_pixels(image) for key, image in pixels.items()}
    images = {digests[key]: image for key, image in pixels.items()}
    detections, quality = cache.detections(images), cache.quality(images)
    image_vectors = {encoder: cache.image_vectors(encoder, images) for encoder in cache.whole_image_encoders}
    extra = ExtraFeatures() if extra_encoders is None else extra_encoders.features(images)
    diversity = lpips_diversity(jobs, digests, images, cache)
    crops: dict[CropKey, Pixels] = {}
    for job in jobs:
        if job.key in pixels:
            crops.update(_crops(job, pixels[job.key], detections.get(digests[job.key])))
    crop_digests = {key: digest_pixels(crop_pixels) for key, crop_pixels in crops.items()}
    crop_images = {crop_digests[key]: crop_pixels for key, crop_pixels in crops.items()}
    crop_vectors = {encoder: cache.image_vectors(encoder, crop_images) for encoder in cache.encoders}
    return _RowFeatures(
        pixels, digests, detections, quality, image_vectors, extra, diversity, crop_digests, crop_vectors
    )  # fmt: skip


def _crops(job: Job, pixels: Pixels, detections: Detections | None) -> dict[CropKey, Pixels]:
    """Cut out each instance: at its target box, at its detection if there is one, and by its mask if it has one."""
    layout = job.sample.layout
    boxes = [None] * len(layout.instances) if detections is None else detected_boxes(layout, detections)
    crops: dict[CropKey, Pixels] = {}
    for instance, box in zip(layout.instances, boxes, strict=True):
        crops[job.key, instance.id, "target"] = crop(pixels, instance.box)
        if box is not None:
            crops[job.key, instance.id, "detected"] = crop(pixels, box)
        if instance.mask is not None:
            crops[job.key, instance.id, "masked"] = masked_crop(pixels, instance)
    return crops


def _job_evidence(
    job: Job, record: Mapping[str, Any] | None, features: _RowFeatures, suite_features: SuiteFeatures
) -> Evidence:
    if record is None or (record["status"] in SCORED_STATUSES and job.key not in features.pixels):
        return Evidence(job.sample, job.seed, Status.MISSING, "not in the store")
    status, reason = Status(record["status"]), str(record["reason"])
    if job.key not in features.pixels:
        return Evidence(job.sample, job.seed, status, reason)
    image_digest = features.digests[job.key]
    detections = features.detections.get(image_digest)
    return Evidence(
        job.sample,
        job.seed,
        status,
        reason,
        detections=None if detections is None else _judged_detections(detections, job.sample),
        vectors=_image_vectors(job, features, suite_features),
        crops=tuple(_crop_evidence(job, i, features, suite_features) for i in job.sample.layout.instances),
        quality=_scalars(job, features, suite_features.texts),
        second_detections=features.extra.second_detections(image_digest, job.sample),
    )


def _image_vectors(job: Job, features: _RowFeatures, suite_features: SuiteFeatures) -> dict[str, Vector]:
    image_digest = features.digests[job.key]
    vectors = {f"{encoder}/image": v[image_digest] for encoder, v in features.image_vectors.items() if v}
    vectors.update(suite_features.true_images.get(job.sample.id, {}))
    if suite_features.extra_encoders is not None:
        vectors.update(suite_features.extra_encoders.prompt_vectors(job.sample.prompt))
    if suite_features.texts:
        vectors["clip/prompt"] = suite_features.texts[job.sample.prompt][0]
    return vectors


def _scalars(job: Job, features: _RowFeatures, texts: Texts) -> dict[str, float]:
    pixels, image_digest = features.pixels[job.key], features.digests[job.key]
    scalars = {"contrast": contrast(pixels), "saturation": saturation(pixels)}
    if features.quality:
        scalars["clip-iqa"] = features.quality[image_digest]
    if job.key in features.diversity:
        scalars["lpips-diversity"] = features.diversity[job.key]
    if texts:
        sample_texts = (job.sample.prompt, *(i.phrase for i in job.sample.layout.instances))
        scalars["text-cut"] = sum(texts[t][1] for t in sample_texts) / len(sample_texts)
    return {**scalars, **features.extra.quality_by_role(image_digest)}


def _judged_detections(detections: Detections, sample: Sample) -> Detections:
    """Keep the detections that count for a sample, with masks resampled to its canvas, the grid of target masks."""
    judged, canvas = detections.with_judged_categories(sample), sample.layout.canvas
    if judged.masks is None:
        return judged
    return replace(judged, masks=tuple(None if m is None else masks.mask_on_canvas(m, canvas) for m in judged.masks))


def _crop_evidence(job: Job, instance: Instance, features: _RowFeatures, suite_features: SuiteFeatures) -> CropEvidence:
    vectors = dict(suite_features.references.get((job.sample.id, instance.id), {}))
    absent: dict[str, str] = {}
    if suite_features.texts:
        vectors["clip/phrase"] = suite_features.texts[instance.phrase][0]
    for encoder, by_digest in features.crop_vectors.items():
        if not by_digest:
            reason = f"the stack has no {encoder}"
            absent |= {f"{encoder}/{name}": reason for name in (*CROP_NAMES.values(), *MISSING_REFERENCE_REASONS)}
            continue
        absent |= {
            f"{encoder}/{name}": reason
            for name, reason in MISSING_REFERENCE_REASONS.items()
            if f"{encoder}/{name}" not in vectors
        }
        for kind, name in CROP_NAMES.items():
            crop_digest = features.crop_digests.get((job.key, instance.id, kind))
            if crop_digest is None:
                absent[f"{encoder}/{name}"] = "no mask asked for" if kind == "masked" else "not detected"
            else:
                vectors[f"{encoder}/{name}"] = by_digest[crop_digest]
    pixels = features.pixels[job.key]
    target = crop(pixels, instance.box)
    mask = instance.mask
    inside = pixels[:0, 0] if mask is None else pixels[resample_mask(mask.to_array(), *pixels.shape[:2])]
    return CropEvidence(
        instance.id, vectors, absent, colour_shares(target), target[..., 0].size,
        colour_shares(inside) if len(inside) else {}, len(inside),
        _value_similarities(instance, vectors, suite_features),
    )  # fmt: skip


def _value_similarities(
    instance: Instance, vectors: Mapping[str, Vector], suite_features: SuiteFeatures
) -> dict[str, dict[str, float]]:
    """Return attribute -> value -> cosine of the target crop with the phrase using that value; empty without a CLIP."""
    if "clip/target-crop" not in vectors:
        return {}
    crop_vector = vectors["clip/target-crop"].astype(np.float64)
    texts = suite_features.texts
    return {
        key: {value: float(crop_vector @ texts[text][0].astype(np.float64)) for value, text in phrases.items()}
        for key, phrases in attribute_phrases(instance, suite_features.vocabulary).items()
    }
