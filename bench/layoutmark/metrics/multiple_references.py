"""Fidelity against several pictures of a thing: the mean over all pairs of its crop with one of them.

Other reports average vectors first, or take the best picture; the mean over pairs is DreamBooth's (Ruiz et al., CVPR
2023), and the variant says so.  With one picture it is the figure without ``_references``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, SampleOutcome
from layoutmark.metrics.aggregation import mean_over_crops
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.fidelity import TARGET_CROP
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored


@dataclass(frozen=True)
class MeanOverReferences:
    """Mean over an image's instances of the mean cosine of the target crop with each picture of the reference."""

    info: MetricInfo
    kind: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, lambda _, crop: self._similarity(crop)) for e in evidence]

    def _similarity(self, crop: CropEvidence | None) -> Outcome:
        if crop is None:
            return Unscored("no crop features stored")
        seen = f"{self.kind}/target-crop"
        first = cosine(crop.vectors, crop.absent, f"{self.kind}/reference", seen)
        if isinstance(first, Unscored):
            return first
        further = takewhile(crop.vectors.__contains__, (f"{self.kind}/reference-{k}" for k in count(2)))
        pairs = [first, *(cosine(crop.vectors, crop.absent, name, seen) for name in further)]
        known = [p.value for p in pairs if isinstance(p, Score)]
        return Score(math.fsum(known) / len(known))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_i_references` and `dino_references`, for the encoders that are there."""
    found = []
    for kind, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if kind in scorers:
            how = f"mean over pairs with every picture of the {scorers.get('reference', 'reference')}, cosine"
            variant = f"{name}_references[{TARGET_CROP}, {how}, {scorers[kind]}]"
            info = MetricInfo(
                f"{name}_references", variant, f"{title}, all references", "cosine", Direction.HIGHER, -1.0, 1.0, "1"
            )
            found.append(MeanOverReferences(info, kind))
    return tuple(found)
