"""Does each object look like its reference? Similarity of a crop with the reference image, by CLIP and by DINO.

There are two crops, and names always say which. The target-box crop shows where the object should be, so a misplaced
object scores low. The detected crop shows where an object of the category was detected, so it judges identity alone,
over the instances that were detected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import mean_of_instances, missing_pixels_reason, unscored_image
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.matching import MIN_CONFIDENCE
from layoutmark.score import Direction, MetricInfo, Outcome, Unscored

TARGET_CROP = "target-box crop, no padding"
DETECTED_CROP = f"detected crop, one-to-one by generalised IoU within category, conf>={MIN_CONFIDENCE}, no padding"


@dataclass(frozen=True)
class CropSimilarity:
    """Mean over an image's instances of the cosine between two stored crop vectors; range [-1, 1].

    `crop_key` and `reference_key` name the two vectors in the evidence of a crop.

    >>> from layoutmark.metrics.examples import example_image
    >>> vectors = {"clip/target-crop": [1.0, 0.0], "clip/reference": [0.6, 0.8]}
    >>> image = example_image(crops=[{"vectors": vectors}])
    >>> round(metrics({"clip": "ViT-B/32"})[0].outcomes([image])[0].outcome.value, 3)
    0.6
    """

    info: MetricInfo
    crop_key: str
    reference_key: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [self._outcome(e) for e in evidence]

    def _outcome(self, evidence: Evidence) -> SampleOutcome:
        reason = missing_pixels_reason(evidence)
        if reason is not None:
            return unscored_image(evidence, reason)
        instances = evidence.sample.layout.instances
        return mean_of_instances(evidence, [self._similarity(evidence, i.id) for i in instances])

    def _similarity(self, evidence: Evidence, instance: str) -> Outcome:
        for crop in evidence.crops:
            if crop.instance == instance:
                return cosine(crop.vectors, crop.absent, self.reference_key, self.crop_key)
        return Unscored("no crop features stored")


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_i`, `dino` and their detected-crop variants, for the scorers available.

    `scorers` may say under ``reference`` what the references are (portraits, crops of true images).

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32", "detector": "yolo"})]
    ['clip_i', 'clip_i_detected']
    """
    offered: list[Metric] = []
    for encoder, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if encoder not in scorers:
            continue
        how = f"cosine with {scorers.get('reference', 'reference')}, {scorers[encoder]}"
        variant = f"{name}[{TARGET_CROP}, {how}]"
        offered.append(_metric(name, variant, title, f"{encoder}/target-crop", encoder))
        if "detector" in scorers:
            variant = f"{name}_detected[{DETECTED_CROP}, detector {scorers['detector']}, {how}]"
            crop_key = f"{encoder}/detected-crop"
            offered.append(_metric(f"{name}_detected", variant, f"{title}, detected", crop_key, encoder))
    return tuple(offered)


def _metric(name: str, variant: str, title: str, crop_key: str, encoder: str) -> CropSimilarity:
    info = MetricInfo(name, variant, title, "cosine", Direction.HIGHER, -1.0, 1.0, "1")
    return CropSimilarity(info, crop_key, f"{encoder}/reference")
