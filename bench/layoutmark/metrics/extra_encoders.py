"""Fidelity and alignment by encoders beside the stack's first: DINOv2, other CLIPs, each under its own name.

Backbones differ and so do papers: DreamBench reports DINO ViT-S/16 and CLIP ViT-B/32, others DINOv2 or CLIP ViT-L/14.
A role `dinov2` or `dino_NAME` gives similarities of crops under that name, `clip_NAME` also those with texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import without_pixels
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.fidelity import DETECTED_CROP, TARGET_CROP, CropSimilarity
from layoutmark.score import Direction, MetricInfo

DINOV2 = "dinov2"


@dataclass(frozen=True)
class Likeness:
    """Cosine of the whole image with its prompt, by one encoder."""

    info: MetricInfo
    role: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        keys = (f"{self.role}/image", f"{self.role}/prompt")
        return [SampleOutcome(e.sample.id, e.seed, without_pixels(e) or cosine(e.vectors, {}, *keys)) for e in evidence]


def roles(scorers: Mapping[str, str]) -> list[str]:
    """The further encoders among `scorers`."""
    return sorted(r for r in scorers if "/" not in r and (r == DINOV2 or r.startswith(("dino_", "clip_"))))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """For each further encoder its similarity by target and by detected crop, and with the prompt for a CLIP."""
    found: list[Metric] = []
    for role in roles(scorers):
        clip = role.startswith("clip_")
        name, title = (f"{role}_i", f"CLIP-I {role[5:]}") if clip else (role, "DINOv2" if role == DINOV2 else role)
        how = f"cosine with {scorers.get('reference', 'reference')}, {scorers[role]}"
        found.append(_crop(role, name, f"{TARGET_CROP}, {how}", title, "target-crop"))
        if "detector" in scorers:
            seen = f"{DETECTED_CROP}, detector {scorers['detector']}, {how}"
            found.append(_crop(role, f"{name}_detected", seen, f"{title}, detected", "detected-crop"))
        if clip:
            what = f"{role}_t[whole image, cosine with prompt, {scorers[role]}]"
            info = MetricInfo(f"{role}_t", what, f"CLIP-T {role[5:]}", "cosine", Direction.HIGHER, -1.0, 1.0, "1")
            found.append(Likeness(info, role))
    return tuple(found)


def _crop(role: str, name: str, how: str, title: str, part: str) -> CropSimilarity:
    info = MetricInfo(name, f"{name}[{how}]", title, "cosine", Direction.HIGHER, -1.0, 1.0, "1")
    return CropSimilarity(info, f"{role}/{part}", f"{role}/reference")
