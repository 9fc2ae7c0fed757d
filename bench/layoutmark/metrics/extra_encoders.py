"""Fidelity and alignment by encoders beyond the stack's CLIP and DINO, each under its own name.

Papers use different backbones: DreamBench reports DINO ViT-S/16 and CLIP ViT-B/32, others DINOv2 or CLIP ViT-L/14. A
role `dinov2` or `dino_NAME` gives similarities of crops under that name, and `clip_NAME` also those with text.
"""

from __future__ import annotations

from collections.abc import Mapping

from layoutmark.api import Metric
from layoutmark.metrics.alignment import PromptSimilarity
from layoutmark.metrics.fidelity import DETECTED_CROP, TARGET_CROP, CropSimilarity
from layoutmark.score import Direction, MetricInfo

DINOV2 = "dinov2"


def extra_encoder_roles(scorers: Mapping[str, str]) -> list[str]:
    """The roles of the extra encoders among `scorers`.

    >>> extra_encoder_roles({"clip": "ViT-B/32", "clip_l14": "ViT-L/14", "dinov2": "ViT-S/14"})
    ['clip_l14', 'dinov2']
    """
    return sorted(r for r in scorers if "/" not in r and (r == DINOV2 or r.startswith(("dino_", "clip_"))))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """For each extra encoder, similarity by target crop and by detected crop, and for a CLIP also with the prompt.

    >>> [metric.info.name for metric in metrics({"clip_l14": "ViT-L/14", "detector": "yolo"})]
    ['clip_l14_i', 'clip_l14_i_detected', 'clip_l14_t']
    """
    offered: list[Metric] = []
    for role in extra_encoder_roles(scorers):
        is_clip = role.startswith("clip_")
        if is_clip:
            name, title = f"{role}_i", f"CLIP-I {role[5:]}"
        else:
            name, title = role, "DINOv2" if role == DINOV2 else role
        how = f"cosine with {scorers.get('reference', 'reference')}, {scorers[role]}"
        offered.append(_crop_similarity(role, name, f"{TARGET_CROP}, {how}", title, "target-crop"))
        if "detector" in scorers:
            detected_how = f"{DETECTED_CROP}, detector {scorers['detector']}, {how}"
            offered.append(
                _crop_similarity(role, f"{name}_detected", detected_how, f"{title}, detected", "detected-crop")
            )
        if is_clip:
            variant = f"{role}_t[whole image, cosine with prompt, {scorers[role]}]"
            info = MetricInfo(f"{role}_t", variant, f"CLIP-T {role[5:]}", "cosine", Direction.HIGHER, -1.0, 1.0, "1")
            offered.append(PromptSimilarity(info, role))
    return tuple(offered)


def _crop_similarity(role: str, name: str, how: str, title: str, crop_name: str) -> CropSimilarity:
    info = MetricInfo(name, f"{name}[{how}]", title, "cosine", Direction.HIGHER, -1.0, 1.0, "1")
    return CropSimilarity(info, f"{role}/{crop_name}", f"{role}/reference")
