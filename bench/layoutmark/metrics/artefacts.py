"""Signs of a method that pushes too hard: contrast and saturation of the whole image, and text that CLIP cut off.

Contrast and saturation are not merits: layout guidance that is too strong raises both, so lower is declared better, and
a value means something only beside the ceiling row of true images. If the prompt was cut, CLIP-T judges only part of
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import missing_pixels_reason
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored


@dataclass(frozen=True)
class StoredScalar:
    """A stored number of the whole image, under `key` in the evidence's `quality`.

    >>> from layoutmark.metrics.examples import example_image
    >>> metrics({"pixels": "hsv"})[0].outcomes([example_image(quality={"contrast": 0.25})])[0].outcome
    Score(value=0.25)
    """

    info: MetricInfo
    key: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [SampleOutcome(e.sample.id, e.seed, self._outcome(e)) for e in evidence]

    def _outcome(self, evidence: Evidence) -> Outcome:
        reason = missing_pixels_reason(evidence)
        if reason is not None:
            return reason
        value = evidence.quality.get(self.key)
        return Unscored(f"no {self.key} stored") if value is None else Score(float(value))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`contrast` and `saturation` if pixels are measured, `text_cut` if there is a CLIP model.

    >>> [metric.info.name for metric in metrics({"pixels": "hsv", "clip": "ViT-B/32"})]
    ['contrast', 'saturation', 'text_cut']
    """
    lower = Direction.LOWER
    offered: list[Metric] = []
    if "pixels" in scorers:
        how = scorers["pixels"]
        contrast = f"contrast[whole image, standard deviation of luma, {how}]"
        saturation = f"saturation[whole image, mean of S, {how}]"
        offered += [
            StoredScalar(MetricInfo("contrast", contrast, "Contrast", "luma", lower, 0.0, 0.5, "1"), "contrast"),
            StoredScalar(MetricInfo("saturation", saturation, "Saturation", "S", lower, 0.0, 1.0, "1"), "saturation"),
        ]
    if "clip" in scorers:
        variant = f"text_cut[prompt and phrases, {scorers['clip']}]"
        info = MetricInfo("text_cut", variant, "Text cut off", "share", lower, 0.0, 1.0, "1")
        offered.append(StoredScalar(info, "text-cut"))
    return tuple(offered)
