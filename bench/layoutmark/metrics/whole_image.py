"""Does the whole picture look like the reference, as DreamBooth measures it (Ruiz et al., CVPR 2023)?

Background and other things take part, so it says less of a thing than its crop does; it is offered so that published
figures can be read beside ours, and the name says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, SampleOutcome
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_over_crops
from layoutmark.metrics.cosine import cosine
from layoutmark.score import Direction, MetricInfo, Outcome, Unscored

AGAINST = {"target-box crop of the true image": "whole true image"}
"""What the whole picture is compared with, where it is not the reference itself."""


@dataclass(frozen=True)
class WholeSimilarity:
    """Mean over an image's instances of the cosine between the whole image and the whole picture of the reference."""

    info: MetricInfo
    kind: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, partial(self._similarity, e)) for e in evidence]

    def _similarity(self, evidence: Evidence, _: Instance, crop: CropEvidence | None) -> Outcome:
        if crop is None:
            return Unscored("no crop features stored")
        wanted = f"{self.kind}/whole-reference"
        return cosine({**evidence.vectors, **crop.vectors}, crop.absent, wanted, f"{self.kind}/image")


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_i_whole` and `dino_whole`, for the encoders that are there."""
    against = scorers.get("reference", "reference")
    found = []
    for kind, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if kind in scorers:
            variant = f"{name}_whole[whole image, cosine with {AGAINST.get(against, against)}, {scorers[kind]}]"
            info = MetricInfo(
                f"{name}_whole", variant, f"{title}, whole image", "cosine", Direction.HIGHER, -1.0, 1.0, "1"
            )
            found.append(WholeSimilarity(info, kind))
    return tuple(found)
