"""Fidelity when a subject has several reference images.

The mean over all pairs of a crop with a reference image is DreamBooth's (Ruiz et al., CVPR 2023). Other reports average
the vectors first or take the best reference image; the metric's full name says which is used. With one reference image,
the value equals that of the metric without ``_references``.
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
    """Mean cosine of each instance's target crop with all reference images of its subject; range [-1, 1].

    For an image with n instances, where c_i (d,) is the embedding of the target crop of instance i and r_i1 ... r_ik
    are those of its k reference images (k may differ between instances):

        value = 1/n * sum_i 1/k * sum_j cos(c_i, r_ij)

    Instances without stored vectors are left out of the mean and keep their reason.

    Args:
        info: Name and description.
        encoder: Role of the encoder, ``clip`` or ``dino``. Crop vectors are read under ``ENCODER/target-crop``,
            reference vectors under ``ENCODER/reference``, ``ENCODER/reference-2``, ``ENCODER/reference-3`` and so on.

    >>> from layoutmark.metrics.examples import example_image
    >>> vectors = {"dino/target-crop": [1.0, 0.0], "dino/reference": [1.0, 0.0], "dino/reference-2": [0.0, 1.0]}
    >>> (metric,) = metrics({"dino": "ViT-S/16"})
    >>> metric.outcomes([example_image(crops=[{"vectors": vectors}])])[0].outcome
    Score(value=0.5)
    """

    info: MetricInfo
    encoder: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, lambda _, crop: self._mean_similarity(crop)) for e in evidence]

    def _mean_similarity(self, crop: CropEvidence | None) -> Outcome:
        if crop is None:
            return Unscored("no crop features stored")
        crop_key, reference_key = f"{self.encoder}/target-crop", f"{self.encoder}/reference"
        first = cosine(crop.vectors, crop.absent, reference_key, crop_key)
        if isinstance(first, Unscored):
            return first
        extra_keys = takewhile(crop.vectors.__contains__, (f"{reference_key}-{k}" for k in count(2)))
        similarities = [first, *(cosine(crop.vectors, crop.absent, key, crop_key) for key in extra_keys)]
        values = [s.value for s in similarities if isinstance(s, Score)]
        return Score(math.fsum(values) / len(values))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_i_references` and `dino_references`, for CLIP and DINO if available.

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32", "dino": "ViT-S/16"})]
    ['clip_i_references', 'dino_references']
    """
    offered = []
    for encoder, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if encoder in scorers:
            how = f"mean over pairs with every image of the {scorers.get('reference', 'reference')}, cosine"
            variant = f"{name}_references[{TARGET_CROP}, {how}, {scorers[encoder]}]"
            info = MetricInfo(
                f"{name}_references", variant, f"{title}, all references", "cosine", Direction.HIGHER, -1.0, 1.0, "1"
            )
            offered.append(MeanOverReferences(info, encoder))
    return tuple(offered)
