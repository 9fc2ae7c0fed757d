"""Does the picture say what the words say: CLIP-T of the whole image with the prompt, of crops with phrases.

Raw cosines: the factors 2.5 and 100 of other reports, and their cut at 0, are left to the reader (CLIPScore, Hessel et
al., EMNLP 2021, multiplies by 2.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import without_pixels
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.fidelity import TARGET_CROP, CropSimilarity
from layoutmark.score import Direction, MetricInfo


@dataclass(frozen=True)
class PromptSimilarity:
    """Cosine of the whole image with its prompt."""

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [
            SampleOutcome(e.sample.id, e.seed, without_pixels(e) or cosine(e.vectors, {}, "clip/image", "clip/prompt"))
            for e in evidence
        ]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_t` and `clip_t_phrase`, where there is a CLIP."""
    if "clip" not in scorers:
        return ()
    name, higher = scorers["clip"], Direction.HIGHER
    whole = MetricInfo(
        "clip_t", f"clip_t[whole image, cosine with prompt, {name}]", "CLIP-T", "cosine", higher, -1.0, 1.0, "1"
    )
    phrase = f"clip_t_phrase[{TARGET_CROP}, cosine with phrase, {name}]"
    crop = MetricInfo("clip_t_phrase", phrase, "CLIP-T of phrases", "cosine", higher, -1.0, 1.0, "1")
    return (PromptSimilarity(whole), CropSimilarity(crop, "clip/target-crop", "clip/phrase"))
