"""Does each thing look like its reference, with everything around it painted over?

The crop that the target's box gives, all but the target's mask in one grey, against the reference picture with all but
its own mask in the same grey.  Background then takes no part on either side: protocol 33 of the known pitfalls.
"""

from __future__ import annotations

from collections.abc import Mapping

from layoutmark.api import Metric
from layoutmark.metrics.fidelity import CropSimilarity
from layoutmark.score import Direction, MetricInfo

MASKED_CROP = "target-box crop, all but the target mask painted grey 128"


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_i_masked` and `dino_masked`, for the encoders that are there."""
    found = []
    for kind, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if kind in scorers:
            against = scorers.get("reference", "reference")
            variant = f"{name}_masked[{MASKED_CROP}, cosine with {against} painted alike, {scorers[kind]}]"
            info = MetricInfo(f"{name}_masked", variant, f"{title}, masked", "cosine", Direction.HIGHER, -1.0, 1.0, "1")
            found.append(CropSimilarity(info, f"{kind}/masked-crop", f"{kind}/masked-reference"))
    return tuple(found)
