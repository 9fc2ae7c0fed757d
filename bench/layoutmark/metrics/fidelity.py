"""Does each thing look like its reference: similarity of a crop with the reference picture, by CLIP and by DINO.

Two crops, always named.  The target-box crop looks where the thing should be, so a misplaced thing scores low; the
detected crop looks where a thing of its kind was found, so it judges identity alone, over the instances that were
found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import mean_of_instances, unscored, without_pixels
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.matching import CONFIDENCE
from layoutmark.score import Direction, MetricInfo, Outcome, Unscored

TARGET_CROP = "target-box crop, no padding"
DETECTED_CROP = f"detected crop, one-to-one by generalised IoU within category, conf>={CONFIDENCE}, no padding"


@dataclass(frozen=True)
class CropSimilarity:
    """Mean over an image's instances of the cosine between two crop vectors, named by their keys in the evidence."""

    info: MetricInfo
    seen: str
    wanted: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [self._outcome(e) for e in evidence]

    def _outcome(self, evidence: Evidence) -> SampleOutcome:
        reason = without_pixels(evidence)
        if reason is not None:
            return unscored(evidence, reason)
        instances = evidence.sample.layout.instances
        return mean_of_instances(evidence, [self._similarity(evidence, i.id) for i in instances])

    def _similarity(self, evidence: Evidence, instance: str) -> Outcome:
        for crop in evidence.crops:
            if crop.instance == instance:
                return cosine(crop.vectors, crop.absent, self.wanted, self.seen)
        return Unscored("no crop features stored")


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_i`, `dino` and their detected-crop twins, for the scorers that are there.

    What the references are (portraits, crops of true images) may be said under the key ``reference``.
    """
    found: list[Metric] = []
    for kind, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if kind not in scorers:
            continue
        how = f"cosine with {scorers.get('reference', 'reference')}, {scorers[kind]}"
        found.append(_metric(name, f"{name}[{TARGET_CROP}, {how}]", title, f"{kind}/target-crop", kind))
        if "detector" in scorers:
            variant = f"{name}_detected[{DETECTED_CROP}, detector {scorers['detector']}, {how}]"
            found.append(_metric(f"{name}_detected", variant, f"{title}, detected", f"{kind}/detected-crop", kind))
    return tuple(found)


def _metric(name: str, variant: str, title: str, seen: str, kind: str) -> CropSimilarity:
    info = MetricInfo(name, variant, title, "cosine", Direction.HIGHER, -1.0, 1.0, "1")
    return CropSimilarity(info, seen, f"{kind}/reference")
