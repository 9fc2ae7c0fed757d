"""Does each object look like its reference, with everything around it painted over?

The target-box crop, with everything outside the target mask painted one grey, is compared with the reference image,
with everything outside its own mask painted the same grey. Background then has no influence on either side (number 33
of the pitfalls in docs/protocol.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from layoutmark.api import Metric
from layoutmark.metrics.fidelity import CropSimilarity
from layoutmark.score import Direction, MetricInfo

MASKED_CROP = "target-box crop, all but the target mask painted grey 128"


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_i_masked` and `dino_masked`, for CLIP and DINO if available.

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32", "dino": "ViT-S/16"})]
    ['clip_i_masked', 'dino_masked']
    """
    offered = []
    for encoder, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if encoder in scorers:
            reference = scorers.get("reference", "reference")
            variant = f"{name}_masked[{MASKED_CROP}, cosine with {reference} painted alike, {scorers[encoder]}]"
            info = MetricInfo(f"{name}_masked", variant, f"{title}, masked", "cosine", Direction.HIGHER, -1.0, 1.0, "1")
            offered.append(CropSimilarity(info, f"{encoder}/masked-crop", f"{encoder}/masked-reference"))
    return tuple(offered)
