"""Does the whole image look like the reference, as DreamBooth measures it (Ruiz et al., CVPR 2023)?

Background and other objects influence the value, so it says less about an object than its crop does; it is offered so
that published figures can be compared with ours.
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

WHOLE_IMAGE_OF = {"target-box crop of the true image": "whole true image"}
"""The image that a reference was cropped from, by reference; other references are whole images themselves."""


@dataclass(frozen=True)
class WholeImageSimilarity:
    """Mean over an image's instances of the cosine between the whole image and the whole reference image.

    Range [-1, 1]. `encoder` is the role of the encoder.

    >>> from layoutmark.metrics.examples import example_image
    >>> crops = [{"vectors": {"clip/whole-reference": [0.0, 1.0]}}]
    >>> image = example_image(vectors={"clip/image": [0.0, 1.0]}, crops=crops)
    >>> metrics({"clip": "ViT-B/32"})[0].outcomes([image])[0].outcome
    Score(value=1.0)
    """

    info: MetricInfo
    encoder: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, partial(self._similarity, e)) for e in evidence]

    def _similarity(self, evidence: Evidence, _: Instance, crop: CropEvidence | None) -> Outcome:
        if crop is None:
            return Unscored("no crop features stored")
        vectors = {**evidence.vectors, **crop.vectors}
        return cosine(vectors, crop.absent, f"{self.encoder}/whole-reference", f"{self.encoder}/image")


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_i_whole` and `dino_whole`, for CLIP and DINO if available.

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32", "dino": "ViT-S/16"})]
    ['clip_i_whole', 'dino_whole']
    """
    reference = scorers.get("reference", "reference")
    offered = []
    for encoder, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if encoder in scorers:
            how = f"whole image, cosine with {WHOLE_IMAGE_OF.get(reference, reference)}"
            variant = f"{name}_whole[{how}, {scorers[encoder]}]"
            info = MetricInfo(
                f"{name}_whole", variant, f"{title}, whole image", "cosine", Direction.HIGHER, -1.0, 1.0, "1"
            )
            offered.append(WholeImageSimilarity(info, encoder))
    return tuple(offered)
