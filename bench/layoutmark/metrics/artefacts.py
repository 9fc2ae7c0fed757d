"""Signs of a method that pushes too hard: contrast and saturation of the whole picture, and words that CLIP cut.

Contrast and saturation are no merits: layout guidance that is too strong raises both, so lower is declared better, and
a value means something only beside the ceiling row of true pictures.  A cut prompt makes CLIP-T judge half a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import without_pixels
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored


@dataclass(frozen=True)
class StoredScalar:
    """A stored number of the whole image, by its key in the evidence."""

    info: MetricInfo
    key: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [SampleOutcome(e.sample.id, e.seed, self._outcome(e)) for e in evidence]

    def _outcome(self, evidence: Evidence) -> Outcome:
        reason = without_pixels(evidence)
        if reason is not None:
            return reason
        value = evidence.quality.get(self.key)
        return Unscored(f"no {self.key} stored") if value is None else Score(float(value))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`contrast` and `saturation` where pixels are looked at, `text_cut` where there is a CLIP."""
    down = Direction.LOWER
    found: list[Metric] = []
    if "pixels" in scorers:
        how = scorers["pixels"]
        contrast = f"contrast[whole image, standard deviation of luma, {how}]"
        saturation = f"saturation[whole image, mean of S, {how}]"
        found += [
            StoredScalar(MetricInfo("contrast", contrast, "Contrast", "luma", down, 0.0, 0.5, "1"), "contrast"),
            StoredScalar(MetricInfo("saturation", saturation, "Saturation", "S", down, 0.0, 1.0, "1"), "saturation"),
        ]
    if "clip" in scorers:
        cut = f"text_cut[prompt and phrases, {scorers['clip']}]"
        found.append(StoredScalar(MetricInfo("text_cut", cut, "Texts cut", "share", down, 0.0, 1.0, "1"), "text-cut"))
    return tuple(found)
