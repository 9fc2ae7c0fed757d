"""CLIP-T: does the image show what the text says? Whole images with prompts, crops with phrases.

The values are raw cosines. Other reports multiply by 2.5 or 100 and clip at 0 (CLIPScore, Hessel et al., EMNLP 2021,
multiplies by 2.5); such scaling is left to the reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import missing_pixels_reason
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.fidelity import TARGET_CROP, CropSimilarity
from layoutmark.score import Direction, MetricInfo


@dataclass(frozen=True)
class PromptSimilarity:
    """Cosine of the whole image with its prompt, by the encoder in the role `encoder`; range [-1, 1].

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image(vectors={"clip/image": [1.0, 0.0], "clip/prompt": [0.6, 0.8]})
    >>> round(metrics({"clip": "ViT-B/32"})[0].outcomes([image])[0].outcome.value, 3)
    0.6
    """

    info: MetricInfo
    encoder: str = "clip"

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        keys = f"{self.encoder}/image", f"{self.encoder}/prompt"
        return [
            SampleOutcome(e.sample.id, e.seed, missing_pixels_reason(e) or cosine(e.vectors, {}, *keys))
            for e in evidence
        ]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_t` and `clip_t_phrase`, if there is a CLIP model.

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32"})]
    ['clip_t', 'clip_t_phrase']
    """
    if "clip" not in scorers:
        return ()
    name, higher = scorers["clip"], Direction.HIGHER
    image_info = MetricInfo(
        "clip_t", f"clip_t[whole image, cosine with prompt, {name}]", "CLIP-T", "cosine", higher, -1.0, 1.0, "1"
    )
    variant = f"clip_t_phrase[{TARGET_CROP}, cosine with phrase, {name}]"
    crop_info = MetricInfo("clip_t_phrase", variant, "CLIP-T of phrases", "cosine", higher, -1.0, 1.0, "1")
    return (PromptSimilarity(image_info), CropSimilarity(crop_info, "clip/target-crop", "clip/phrase"))
